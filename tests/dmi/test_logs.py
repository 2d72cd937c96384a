import json
import logging

import pytest

from dmi.logs import set_up_logging


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
