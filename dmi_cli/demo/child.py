"""A program of the demo: `dmi` with its usual words, that ends when the demo is gone."""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Final

from dmi_cli.main import main

__all__ = ["run"]

_GRACE: Final = 15.0
"""Seconds for an orderly end; longer than any program of the demo takes."""


def run(words: Sequence[str]) -> int:
    """Run one command line. Standard input is a pipe that the demo holds and never writes to.

    The kernel closes it however the demo ends, by SIGKILL too.
    """
    threading.Thread(target=_watch, name="demo watch", daemon=True).start()
    return main(words)


def _watch() -> None:
    while os.read(sys.stdin.fileno(), 1):
        continue
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
