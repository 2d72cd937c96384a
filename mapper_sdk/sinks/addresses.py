"""`HOST:PORT`, as KubeEdge's `addr` fields and our own settings spell where a server is."""

from collections.abc import Callable
from urllib.parse import urlsplit

__all__ = ["checked_address", "host_and_port"]


def host_and_port(text: str, default: int) -> tuple[str, int]:
    """Read an address; IPv6 stands in brackets.

    Args:
        text: Such as `db`, `db:6379` or `[::1]:6379`.
        default: The port where none is named.

    Raises:
        ValueError: It is none, or has more in it than that.
    """
    parts = urlsplit(f"//{text}")
    host, port = parts.hostname, parts.port
    if not host or text != parts.netloc or "@" in text or any(c.isspace() for c in text):
        raise ValueError(f"{text!r} is not HOST or HOST:PORT")
    return host, default if port is None else port


def checked_address(default: int) -> Callable[[str], str]:
    """Make a check for `AfterValidator`; equal places become equal text, with their port."""

    def checked(text: str) -> str:
        host, port = host_and_port(text, default)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    return checked
