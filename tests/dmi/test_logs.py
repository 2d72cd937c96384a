import json
import logging

import pytest

from dmi.errors import NotFoundError
from dmi.logs import change_log_level, log_levels, set_up_logging


@pytest.fixture(autouse=True)
def logging_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_json_lines_hold_one_object_each(capsys):
    set_up_logging("info", "json")
    log = logging.getLogger("plant")
    log.debug("not seen")
    try:
        float("no number")
    except ValueError:
        log.exception("pump %s\nstopped", 7)
    (line,) = capsys.readouterr().err.splitlines()
    said = json.loads(line)
    assert (said["level"], said["logger"], said["message"]) == ("error", "plant", "pump 7\nstopped")
    assert "ValueError" in said["exception"]
    assert said["time"].endswith("+00:00")


def test_text_lines_are_for_people(capsys):
    set_up_logging("warning", "text")
    logging.getLogger("plant").warning("pump stopped")
    logging.getLogger("plant").info("not seen")
    assert capsys.readouterr().err.strip().endswith("WARNING plant: pump stopped")


def test_levels_can_be_changed_while_it_runs(capsys):
    set_up_logging("info", "text")
    pump = logging.getLogger("plant.pump")
    change_log_level("debug", "plant.pump")
    assert log_levels()[1]["plant.pump"] == "debug"
    pump.debug("seen")
    change_log_level(None, "plant.pump")
    assert "plant.pump" not in log_levels()[1]
    change_log_level("error")
    assert log_levels()[0] == "error"
    pump.warning("not seen")
    change_log_level(None)
    assert log_levels()[0] == "error"
    assert capsys.readouterr().err.strip().endswith("DEBUG plant.pump: seen")


def test_no_logger_is_made_by_asking_for_it():
    with pytest.raises(NotFoundError):
        change_log_level("debug", "plant.of.nobody")
    assert "plant.of.nobody" not in logging.root.manager.loggerDict


@pytest.mark.parametrize(
    ("number", "word"), [(5, "debug"), (15, "info"), (25, "warning"), (35, "error"), (50, "error")]
)
def test_a_level_in_between_is_worded_by_the_next_above(number, word):
    logging.getLogger().setLevel(number)
    assert log_levels()[0] == word
