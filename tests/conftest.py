"""How the tests are shared out among processes."""

from functools import cache
from pathlib import Path

import pytest

_TOGETHER = ('scope="module"', "pytest.mark.xdist_group")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep a module in one process where its tests share something, mostly a server.

    `--dist loadgroup` is meant for that, but pytest-xdist 3.8 does not see the groups of
    pytest 9.2 (https://github.com/pytest-dev/pytest-xdist/issues/1386).
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByModule(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            return file if _stays_together(config.rootpath / file) else nodeid

    return ByModule(config, log)


@cache
def _stays_together(file: Path) -> bool:
    text = file.read_text(encoding="utf-8")
    return any(word in text for word in _TOGETHER)
