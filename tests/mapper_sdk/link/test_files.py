import json

import pytest

from dmi.reports import DeviceState, Outcome, OutcomeStatus
from dmi.resources import Key
from mapper_sdk.link.files import FilesLink

KILN = Key("plant", "kiln-1")


def write(path, *objects) -> None:
    """Replace a file as editors do."""
    fresh = path.with_suffix(".tmp")
    fresh.write_text("\n---\n".join(json.dumps(item.to_json()) for item in objects))
    fresh.rename(path)


@pytest.fixture
def folder(tmp_path, plant):
    folder = tmp_path / "plant"
    folder.mkdir()
    write(folder / "model.yaml", plant.model())
    write(folder / "a.yaml", plant.device("kiln-1", desired="740"))
    return folder


async def test_serves_a_folder_and_follows_it(folder, served, plant, running, eventually):
    async with running(FilesLink(folder), served) as link:
        await eventually(lambda: served.names == {"kiln-1"})
        assert link.connected
        assert len(served.models) == 1
        assert served.desired[KILN, "temperature"].value == "740"
        write(folder / "b.yaml", plant.device("kiln-2"))
        await eventually(lambda: served.names == {"kiln-1", "kiln-2"})
        write(folder / "a.yaml", plant.device("kiln-1", desired="750"))
        await eventually(lambda: served.desired[KILN, "temperature"].value == "750")
        (folder / "a.yaml").unlink()
        await eventually(lambda: served.names == {"kiln-2"})


async def test_a_broken_file_keeps_what_it_said_and_harms_no_other(
    folder, served, plant, running, eventually, caplog
):
    async with running(FilesLink(folder), served):
        await eventually(lambda: served.names == {"kiln-1"})
        (folder / "a.yaml").write_text("kind: Device\nspec: [")
        write(folder / "b.yaml", plant.device("kiln-2"))
        await eventually(lambda: "kiln-2" in served.names)
        await eventually(lambda: "a.yaml is not used" in caplog.text)
        assert served.names == {"kiln-1", "kiln-2"}
        write(folder / "a.yaml", plant.device("kiln-3"))
        await eventually(lambda: served.names == {"kiln-2", "kiln-3"})


async def test_a_single_file_may_be_replaced(tmp_path, served, plant, running, eventually):
    file = tmp_path / "all.yaml"
    write(file, plant.model(), plant.device())
    async with running(FilesLink(file), served):
        await eventually(lambda: served.names == {"kiln-1"})
        write(file, plant.model(), plant.device("kiln-9"))
        await eventually(lambda: served.names == {"kiln-9"})


async def test_waits_for_files_that_are_not_there(
    tmp_path, served, plant, running, eventually, caplog, fake_clock
):
    folder = tmp_path / "later"
    async with running(FilesLink(folder, clock=fake_clock), served):
        await eventually(lambda: fake_clock.sleepers == 1)
        await fake_clock.advance(1)
        await eventually(lambda: fake_clock.sleepers == 1)
        folder.mkdir()
        write(folder / "all.yaml", plant.model(), plant.device())
        await fake_clock.advance(1)
        await eventually(lambda: served.names == {"kiln-1"})
    assert caplog.text.count("waiting for it") == 1


async def test_of_two_namesakes_the_first_file_wins(
    folder, served, plant, running, eventually, caplog
):
    write(folder / "z.yaml", plant.device("kiln-1", desired="1"), plant.model())
    async with running(FilesLink(folder), served):
        await eventually(lambda: served.names == {"kiln-1"})
        assert served.desired[KILN, "temperature"].value == "740"
    assert "device plant/kiln-1 is already in another file" in caplog.text
    assert "model plant/kiln is already in another file" in caplog.text


async def test_reports_end_here(folder, plant):
    link = FilesLink(folder)
    link.report([plant.reading(1.0)])
    link.report_state(DeviceState(KILN, "online", 1.0))
    link.report_outcome(Outcome(KILN, "temperature", 1, OutcomeStatus.CONFIRMED, 1.0))
    await link.drain()
    assert link.dropped == {}
