import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmi.errors import ConfigError
from dmi.selectors import parse_selector

LABELS = {"site": "hall-1", "line": "7", "example.com/kind": "meter", "empty": ""}


@pytest.mark.parametrize(
    ("selector", "holds"),
    [
        ("site=hall-1", True),
        ("site==hall-1", True),
        ("site = hall-1 , line=7", True),
        ("site=hall-1,line=8", False),
        ("line!=7", False),
        ("line!=8", True),
        ("floor!=8", True),
        ("floor=8", False),
        ("line in (6, 7)", True),
        ("line in (6)", False),
        ("line notin (6,8),site in (hall-1,hall-2)", True),
        ("line notin (7)", False),
        ("floor notin (7)", True),
        ("site", True),
        ("floor", False),
        ("!floor", True),
        ("! site", False),
        ("example.com/kind=meter", True),
        ("empty=", True),
        ("site=", False),
    ],
)
def test_all_requirements_must_hold(selector, holds):
    assert parse_selector(selector)(LABELS) is holds


@pytest.mark.parametrize(
    "selector", ["", ",", "a=b,", "=b", "a in b", "a in (b", "a>1", "a=b c", "ä=b"]
)
def test_anything_else_is_not_understood(selector):
    with pytest.raises(ConfigError, match="not understood"):
        parse_selector(selector)


@given(st.text(alphabet="ab=!,() in/-.", max_size=30))
def test_no_text_breaks_it(text):
    with contextlib.suppress(ConfigError):
        parse_selector(text)(LABELS)
