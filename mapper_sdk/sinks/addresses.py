"""Where a server is: `HOST:PORT`, as in KubeEdge's `addr` fields, or the base of its URLs."""

from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit

__all__ = ["base_url", "checked_address", "host_and_port", "split_url"]


def split_url(text: str) -> SplitResult:
    """Take a URL apart; its `port` can be read.

    Raises:
        ValueError: It cannot be. The text repeats nothing of the URL: what stands where a host
            or a port should be may be half of a password that has a slash in it.
    """
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError("is no address: its host or its port is wrong") from None
    return parts


def host_and_port(text: str, default: int) -> tuple[str, int]:
    """Read an address; IPv6 stands in brackets.

    Args:
        text: Such as `db`, `db:6379` or `[::1]:6379`.
        default: The port where none is named.

    Raises:
        ValueError: It is none, or has more in it than that.
    """
    parts = split_url(f"//{text}")
    host, port = parts.hostname, parts.port
    if "@" in text:
        raise ValueError("must be HOST or HOST:PORT; a name or password does not belong here")
    if not host or text != parts.netloc or any(c.isspace() for c in text):
        raise ValueError(f"{text!r} is not HOST or HOST:PORT")
    return host, default if port is None else port


def checked_address(default: int) -> Callable[[str], str]:
    """Make a check for `AfterValidator`; equal places become equal text, with their port."""

    def checked(text: str) -> str:
        host, port = host_and_port(text, default)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    return checked


def base_url(text: str) -> str:
    """Check what all URLs of a server begin with; for `AfterValidator`.

    Raises:
        ValueError: It is not http or https, or has a user, a query or a fragment in it.
    """
    parts = split_url(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be http://HOST:PORT or https://HOST:PORT, with or without a path")
    if "@" in parts.netloc:
        raise ValueError("a name or password does not belong into the URL")
    if parts.query or parts.fragment or any(c.isspace() for c in text):
        raise ValueError("has something in it that is no address")
    if parts.port == 0:
        raise ValueError("has the port 0")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"
