"""`python -m device_manager` is `dmi manager`."""

import sys

from device_manager.manager import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
