"""Names of objects as the command line takes them: `NAME` with `-n NS`, or `NS/NAME`."""

from dmi.errors import ConfigError

__all__ = ["split_name"]


def split_name(name: str, namespace: str | None) -> tuple[str, str]:
    """Namespace and name.

    Args:
        name: `NAME` or `NS/NAME`.
        namespace: From `-n`; `default` when neither says it.

    Raises:
        ConfigError: Both say it, differently.
    """
    before, slash, rest = name.partition("/")
    if not slash:
        return namespace or "default", name
    if namespace not in {None, before}:
        raise ConfigError(f"{name} names another namespace than -n {namespace}")
    return before, rest
