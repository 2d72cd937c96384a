"""`python -m dmi_cli` is `dmi`."""

import sys

from dmi_cli.main import main

sys.exit(main())
