"""A simulated device as an operating-system process: options, readiness, signals, exit code."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from dmi.errors import ConfigError, DmiError
from dmi.lifecycle import stopped_by_signals

__all__ = ["Serving", "run_simulator", "simulator_parser"]


@dataclass(frozen=True, slots=True)
class Serving:
    """What to say when a simulator listens.

    Attributes:
        text: For people.
        facts: For programs, as one line of JSON; with `port`, where it has one.
    """

    text: str
    facts: Mapping[str, object]


def simulator_parser(
    protocol: str, description: str, epilog: str, *, port: int
) -> argparse.ArgumentParser:
    """Make a parser with the options that every simulator has.

    Args:
        protocol: As in `dmi simulate PROTOCOL`.
        description: What is simulated.
        epilog: What else to know.
        port: Where it listens unless told otherwise.
    """
    parser = argparse.ArgumentParser(
        prog=f"dmi simulate {protocol}", description=description, epilog=epilog
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=port, help="port, 0 for a free one (%(default)s)"
    )
    parser.add_argument(
        "--ready-json", action="store_true", help="say by one line of JSON when it listens"
    )
    return parser


def run_simulator(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    serve: Callable[[argparse.Namespace], AbstractAsyncContextManager[Serving]],
) -> int:
    """Run a simulator until SIGTERM or Ctrl-C; give the exit code.

    Args:
        parser: From `simulator_parser`.
        argv: Options, without the program's name; those of the process where None.
        serve: Listens for the length of its block.

    Returns:
        0 after an orderly end, 2 for a wrong option, 1 if it cannot listen.
    """
    options = parser.parse_args(sys.argv[1:] if argv is None else argv)
    try:
        asyncio.run(_run(options, serve))
    except DmiError as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return 2 if isinstance(error, ConfigError) else 1
    return 0


async def _run(
    options: argparse.Namespace,
    serve: Callable[[argparse.Namespace], AbstractAsyncContextManager[Serving]],
) -> None:
    stop = asyncio.Event()
    with stopped_by_signals(stop):
        async with serve(options) as serving:
            line = json.dumps(dict(serving.facts)) if options.ready_json else serving.text
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
            await stop.wait()
