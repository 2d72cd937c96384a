"""Unix sockets of the DMI: where they are, how one is taken over safely, how it is dialled.

gRPC itself unlinks whatever socket is in its way, a living one too, and unlinks its path
again when it stops, whoever owns that by then. `bind` looks first. The socket appears under
its own name at once, not under another one that is renamed: between unlinking a stale
socket and binding, clients see "no such file" and try again.
"""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import grpc

from dmi.errors import ConfigError, ConflictError

__all__ = [
    "EDGECORE_SOCKET",
    "MANAGER_SOCKET",
    "MAX_MESSAGE_BYTES",
    "MAX_PATH_BYTES",
    "Identity",
    "bind",
    "channel",
    "identity",
    "is_served",
    "prepare",
    "server_options",
    "target",
]

MANAGER_SOCKET = Path("/run/dmi/dmi.sock")
"""Where our device manager serves unless told otherwise."""

EDGECORE_SOCKET = Path("/etc/kubeedge/dmi.sock")
"""Where EdgeCore serves; only its directory can be configured there."""

MAX_PATH_BYTES = 107
"""Linux: `sockaddr_un.sun_path` holds 108 bytes, the last one is zero."""

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""A list of some ten thousand devices; the library's own limit is 4 MiB."""

_DIRECTORY_MODE = 0o750
_SOCKET_MODE = 0o660

_MESSAGE_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
)
_CHANNEL_OPTIONS: tuple[tuple[str, int | str], ...] = (
    # Strict HTTP/2 servers reset calls whose authority is a percent-encoded path.
    ("grpc.default_authority", "localhost"),
    # A refused local connect costs nothing, so a restarted peer is found within a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # This one is the time that a connect may take, HTTP/2 greeting included.
    ("grpc.min_reconnect_backoff_ms", 2000),
    # Channels to one path do not share a connection, nor each other's backoff.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)


class Identity(NamedTuple):
    """Tells a socket from its successor at the same path.

    Inode numbers are used again quickly, so the time of birth belongs to it. The
    modification time stays when the permissions change, unlike the change time.
    """

    device: int
    inode: int
    modified_ns: int


def identity(path: Path) -> Identity | None:
    """Which socket is at the path now; None while there is none that we may see."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    if not stat.S_ISSOCK(found.st_mode):
        return None
    return Identity(found.st_dev, found.st_ino, found.st_mtime_ns)


def target(path: Path) -> str:
    """The path as gRPC addresses it; odd characters are percent-encoded.

    Raises:
        ConfigError: The path is longer than a Unix socket's may be.
    """
    return "unix:" + quote(str(_checked(path)))


def channel(path: Path) -> grpc.aio.Channel:
    """Open a channel to a socket: lazily, and for good. Keep it; it reconnects by itself.

    Raises:
        ConfigError: The path is longer than a Unix socket's may be.
    """
    return grpc.aio.insecure_channel(target(path), options=[*_CHANNEL_OPTIONS, *_MESSAGE_OPTIONS])


def server_options() -> list[tuple[str, int | str]]:
    """Options for `grpc.aio.server`, matching those of `channel`."""
    return list(_MESSAGE_OPTIONS)


def bind(server: grpc.aio.Server, path: Path, mode: int = _SOCKET_MODE) -> None:
    """Let a server listen on a socket that only owner and group may use.

    Raises:
        ConfigError: The path cannot be a socket of ours; the message says what to do.
        ConflictError: Another process is serving there.
    """
    prepare(path)
    with _umask(~mode & 0o777):
        try:
            server.add_insecure_port(target(path))
        except RuntimeError as error:
            raise ConfigError(f"cannot listen on {path}: {error}") from error
    path.chmod(mode)


def prepare(path: Path) -> None:
    """Make room for a socket: create its directory, remove a stale socket of ours.

    Raises:
        ConfigError: The path is too long, its directory cannot be used, or something is
            there that is not a socket or belongs to another user.
        ConflictError: Another process is serving there.
    """
    path = _checked(path)
    try:
        path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        found = path.lstat()
    except FileNotFoundError:
        _require_writable(path.parent)
        return
    except OSError as error:
        raise ConfigError(
            f"cannot use the directory of socket {path}: {error.strerror};"
            " give this user access, or set another socket path"
        ) from error
    _require_own_socket(path, found)
    if is_served(path):
        raise ConflictError(
            f"another process is serving on {path}; stop it, or set another socket path"
        )
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot remove the stale socket {path}: {error.strerror}") from error


def _checked(path: Path) -> Path:
    absolute = path.absolute()
    size = len(os.fsencode(absolute))
    if size > MAX_PATH_BYTES:
        raise ConfigError(
            f"socket path {absolute} has {size} bytes, a Unix socket's may have"
            f" {MAX_PATH_BYTES}; set a shorter one"
        )
    return absolute


def _require_writable(directory: Path) -> None:
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ConfigError(
            f"cannot create a socket in {directory}: permission denied;"
            " give this user access, or set another socket path"
        )


def _require_own_socket(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigError(
            f"{path} is a {_kind(found.st_mode)}, not a socket;"
            " remove it, or set another socket path"
        )
    if found.st_uid != os.geteuid():
        raise ConfigError(
            f"socket {path} belongs to user id {found.st_uid}, and this process runs as"
            f" {os.geteuid()}; run as that user, remove it, or set another socket path"
        )


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISLNK(mode):
        return "symbolic link"
    return "regular file" if stat.S_ISREG(mode) else "special file"


def is_served(path: Path) -> bool:
    """Whether somebody accepts connections there; a full backlog counts as yes.

    Nobody does at a path that is too long for a socket.
    """
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        problem = probe.connect_ex(str(path))
    return problem not in (errno.ECONNREFUSED, errno.ENOENT)


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    """Hold the process's umask for one synchronous step: no moment of open permissions."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
