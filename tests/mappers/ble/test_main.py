import sys

import pytest

from mappers.ble import __main__ as program


@pytest.mark.parametrize("argv", [["--help"], None])
def test_the_mapper_explains_itself(argv, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ble", "--help"])
    with pytest.raises(SystemExit) as end:
        program.main(argv)
    assert end.value.code == 0
    assert "ble" in capsys.readouterr().out
