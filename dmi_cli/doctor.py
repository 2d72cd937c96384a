"""`dmi doctor`: looks for what keeps this machine from working, and tells the cure."""

import argparse
from collections.abc import Callable, Sequence
from typing import Final

from dmi_cli.equipment import (
    check_edgecore,
    check_extras,
    check_radio,
    check_serial,
    check_state,
)
from dmi_cli.exits import Exit
from dmi_cli.output import print_document, print_line, print_table
from dmi_cli.symptoms import (
    Finding,
    check_clock,
    check_directory,
    check_files,
    check_libraries,
    check_manager,
    check_python,
    check_socket,
)

__all__ = ["doctor", "examine"]

_BAD: Final = "bad"


def examine(options: argparse.Namespace) -> list[Finding]:
    """Make every check; none of them changes anything."""
    checks: Sequence[Callable[[], Finding]] = (
        check_python,
        check_libraries,
        check_clock,
        check_files,
        check_serial,
        check_radio,
        check_state,
        check_edgecore,
        lambda: check_socket(options.manager_socket),
        lambda: check_directory(options.data_dir),
    )
    found = [check() for check in checks]
    return [*found, *check_extras(), *check_manager(options.server)]


def doctor(options: argparse.Namespace) -> int:
    """Print the findings; refused when one of them is bad, not for warnings."""
    findings = examine(options)
    if options.output == "json":
        print_document({"findings": [finding.to_json() for finding in findings]}, "json")
    else:
        rows = [(finding.level, finding.what, finding.found) for finding in findings]
        print_table(("LEVEL", "WHAT", "FOUND"), rows)
        for finding in findings:
            if finding.cure:
                print_line(f"cure for {finding.what}: {finding.cure}")
    bad = any(finding.level == _BAD for finding in findings)
    return Exit.REFUSED if bad else Exit.OK
