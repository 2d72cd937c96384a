"""`dmi token`: lets one more client into a REST API."""

import argparse
from datetime import UTC, datetime, timedelta

from dmi.rest.tokens import add_token
from dmi_cli.exits import Exit
from dmi_cli.output import print_document, print_line

__all__ = ["token"]


def token(options: argparse.Namespace) -> int:
    """Add a client to the file and print its token, this once.

    Raises:
        ConfigError: The file or the grant is wrong, or there is such a client already.
    """
    grant: dict[str, object] = {"name": options.name, "scopes": options.scope or ["read"]}
    if options.namespace:
        grant["namespaces"] = options.namespace
    if options.days is not None:
        end = datetime.now(UTC) + timedelta(days=options.days)
        grant["expires"] = end.isoformat(timespec="seconds")
    made = add_token(options.file, grant)
    if options.output == "json":
        print_document({**grant, "token": made}, "json")
    else:
        print_line(made)
    return Exit.OK
