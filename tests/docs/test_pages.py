"""What the pages say is true: they run, their links lead somewhere, their commands exist."""

import re
import shlex
from pathlib import Path

import pytest

from device_manager.config import parse_options as manager_options
from dmi_cli.main import _parse, build_parser
from mapper_sdk.config import parse_options as mapper_options

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    str(page.relative_to(ROOT))
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md"))
)
RUNNING = (
    "README.md",
    "docs/client.md",
    "docs/delivery.md",
    "docs/drivers.md",
    "docs/operating.md",
    "docs/rest.md",
    "docs/security.md",
)

_LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]+))?\)")
_ANCHOR = re.compile(r"\]\(([^)#\s]*)#([^)\s]+)\)")
_REDIRECTION = re.compile(r"\d?>")
_COMMAND = re.compile(r"^(?:    |\t)?(?:sudo )?(dmi [^`]+?)$", re.MULTILINE)


@pytest.mark.process
@pytest.mark.timeout(120)
@pytest.mark.parametrize("page", RUNNING)
def test_a_page_runs_from_top_to_bottom(reader, page):
    reader.follow(page)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target, _ in _LINK.findall(text):
        if "://" not in target:
            assert (ROOT / page).parent.joinpath(target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_anchors_are_headings(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target, anchor in _ANCHOR.findall(text):
        if "://" not in target:
            there = (ROOT / page).parent / target if target else ROOT / page
            assert anchor in _anchors(there.read_text(encoding="utf-8")), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist_with_their_flags(page):
    for command in _commands((ROOT / page).read_text(encoding="utf-8")):
        assert _refusal(command) is None, f"dmi {shlex.join(command)}"


def test_the_readme_lists_every_folder_of_code():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for folder in ROOT.iterdir():
        if (folder / "__init__.py").exists() or folder.name in ("examples", "benchmarks"):
            assert f"| [{folder.name}]({folder.name}) |" in text


def test_the_readme_links_every_page():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"](docs/{page.name})" in text


def _anchors(text):
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _commands(text):
    """Every call of `dmi` that stands on a line of its own, as words."""
    for line in _COMMAND.findall(text.replace("\\\n", " ")):
        words = shlex.split(line, comments=True)
        command = []
        for word in [*words, ";"]:
            if word in (";", "&", "&&", "|", "||") or _REDIRECTION.match(word):
                if command[:1] == ["dmi"]:
                    yield command[1:]
                command = []
            else:
                command.append(word.rstrip(";"))


def _refusal(command):
    """What the command line ends with before it does anything; None if it would do it."""
    try:
        options = _parse(build_parser(), command)
        if options.verb == "manager":
            manager_options(options.rest)
        elif options.verb == "mapper":
            mapper_options(options.rest, options.name)
    except SystemExit as end:
        return end.code or None
    return None
