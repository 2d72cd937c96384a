import pytest

from tests.e2e.node import Stage
from tests.e2e.programs import run


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """What the programs logged last belongs to the report of a test that failed."""
    outcome = yield
    report = outcome.get_result()
    stage = getattr(item, "funcargs", {}).get("stage")
    if stage is not None and report.failed:
        for program in stage.programs:
            report.sections.append((f"log of {program}", program.tail()))


@pytest.fixture
async def stage(socket_dir):
    """A folder for one node; whatever was started in it is gone afterwards."""
    stage = Stage(socket_dir)
    yield stage
    await stage.close()
    for program in stage.programs:
        log = program.log.read_text() if program.log.exists() else ""
        assert "Traceback" not in log, f"{program} has logged a bug:\n{program.tail(60)}"


@pytest.fixture
def dmi(socket_dir):
    """Run one command line of `dmi` to its end: exit code, standard output, standard error."""

    async def dmi(*words, **variables):
        return await run(*words, folder=socket_dir, **variables)

    return dmi
