"""The program `dmi`: finds the verb, loads what that verb needs, words errors, ends with a code.

Nothing heavy is imported before the verb is known, so that help and completion are immediate.
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from dmi.errors import DmiError
from dmi_cli.commands import COMMANDS
from dmi_cli.exits import Exit, exit_of

__all__ = ["build_parser", "main"]

_PURPOSE: Final = """\
Devices on a KubeEdge node: run mappers and a device manager, describe devices in
YAML, see what they report and set what they should do."""

_EPILOG: Final = """\
exit codes:
  0  done
  1  refused: a mistake in the input, or the manager or the device said no
  2  wrong usage
  3  no such device, model, property, mapper or file
  4  cannot be reached, or too late; trying again can help
  5  not allowed: a ReadOnly property, a missing token or permission

environment:
  DMI_SERVER      address of the device manager (default http://127.0.0.1:10350,
                  or unix:/path/of/socket)
  DMI_TOKEN_FILE  file with the token for it
  DMI_CA_FILE     who signed its certificate, where it is not publicly known
  DMI_CERTIFICATE_FILE, DMI_KEY_FILE
                  our certificate, where it asks for one
  NO_COLOR        plain tables

start with:  dmi demo"""


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of all verbs, without importing what they do."""
    parser = argparse.ArgumentParser(
        prog="dmi",
        description=_PURPOSE,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and end")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for command in COMMANDS:
        verb = verbs.add_parser(
            command.name,
            help=command.help,
            description=command.description or command.help,
            epilog=command.epilog or None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.arguments(verb)
        verb.set_defaults(handler=command.handler)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code.

    Args:
        argv: Without the program's name; those of this process when left out.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    try:
        options = _parse(parser, arguments)
    except SystemExit as end:  # argparse ends so, also after --help
        return end.code if isinstance(end.code, int) else Exit.USAGE
    if options.version:
        options.handler = "dmi_cli.version:version"
        options.output = "table"
    elif options.verb is None:
        parser.print_help()
        return Exit.USAGE
    return _run(options)


def _parse(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """Parse; a program with options of its own gets those untouched, as `rest`."""
    command = next((one for one in COMMANDS if arguments[:1] == [one.name]), None)
    if command is None or command.passes_after is None:
        return parser.parse_args(arguments)
    end = 1 + command.passes_after
    own = arguments[1:end]
    if len(own) < command.passes_after or any(word.startswith("-") for word in own):
        return parser.parse_args(arguments)
    options = parser.parse_args(arguments[:end])
    options.rest = arguments[end:]
    return options


def _run(options: argparse.Namespace) -> int:
    module, _, function = options.handler.partition(":")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A degree sign must not end the program where the locale does not have it.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code: int = getattr(import_module(module), function)(options)
        sys.stdout.flush()
    except DmiError as error:
        complain(str(error))
        return exit_of(error)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough; Python must not complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except SystemExit as end:  # programs that are passed through parse for themselves
        return end.code if isinstance(end.code, int) else Exit.USAGE
    return code


def complain(text: str) -> None:
    """Say on stderr what is wrong."""
    sys.stderr.write(f"dmi: {text}\n")
