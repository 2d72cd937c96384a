"""Wrong files, wrong settings, wrong values: told where their author looks, no other harm."""

import json

import pytest

from dmi_cli.exits import Exit
from tests.e2e.node import TANK_MODEL, VIRTUAL, device, model, tank
from tests.e2e.programs import until

pytestmark = [
    pytest.mark.process,
    # Several interpreters start.
    pytest.mark.timeout(60),
]


@pytest.fixture
async def plant(stage):
    """A tank that is served; `yield`s the manager's API, and wants the tank alive at the end."""
    stage.write("tank.yaml", TANK_MODEL, tank())
    program, manager = await stage.manager()
    await stage.mapper()
    level = (await manager.until_reported("tank", "level"))["reported"]["value"]
    yield manager
    await manager.until_reported("tank", "level", lambda value: value > level)
    status = await manager.status("tank")
    assert (status["state"], status["problem"]) == ("online", "")
    assert program.running


async def errors_of(manager, file):
    """What the manager says of a file, once it says something."""

    async def look():
        upstreams = (await manager.get("/api/v1/status"))["upstreams"]
        return upstreams.get(f"file:{file}", {}).get("errors")

    return await until(f"{file.name} has errors", look)


async def test_files_with_mistakes_in_the_watched_folder(stage, plant):
    broken = stage.write("broken.yaml", "kind: Device\nmetadata: {name: x\n")
    (error,) = await errors_of(plant, broken)
    assert f"{broken}: " in error
    assert "line 2" in error or "line 3" in error

    wrong = tank("other")
    wrong["spec"]["properties"][0]["collectCycel"] = 5
    typo = stage.write("typo.yaml", json.dumps(wrong, indent=1))
    (error,) = await errors_of(plant, typo)
    assert f"{typo}: document 1, line " in error
    assert "spec.properties[0].collectCycel" in error
    assert "collectCycle" in error.partition("collectCycel")[2]
    assert "default/other" not in str(await plant.get("/api/v1/devices"))

    binary = stage.devices / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\0\0")
    assert str(binary) in (await errors_of(plant, binary))[0]

    # Once it is right it is served, and nothing more is said.
    stage.write("typo.yaml", tank("other"))
    await plant.until_reported("other", "level")
    for file in (broken, binary):
        file.unlink()

    async def well():
        upstreams = (await plant.get("/api/v1/status"))["upstreams"]
        return not any(said["errors"] for said in upstreams.values())

    await until("all files are well", well)


async def test_a_file_that_breaks_counts_as_it_last_was(stage, plant):
    file = stage.write("tank.yaml", "spec: [")
    await errors_of(plant, file)
    assert set(await plant.twins()) == {"tank/level", "tank/setpoint", "tank/label"}
    answer = await plant.put_desired("tank", "setpoint", 5, wait=5)
    assert answer.json()["desired"]["status"] == "confirmed"
    stage.write("tank.yaml", TANK_MODEL, tank())


async def test_two_files_with_one_name(stage, plant):
    second = tank()
    second["spec"]["properties"] = second["spec"]["properties"][:1]
    file = stage.write("again.yaml", second)
    (error,) = await errors_of(plant, file)
    assert "Device default/tank" in error
    assert str(stage.devices / "tank.yaml") in error
    assert len(await plant.twins()) == 3
    # The same in the API: what a file owns is nobody else's.
    answer = await plant.ask("PUT", "/api/v1/devices/default/tank", json=second)
    assert (answer.status_code, answer.json()["reason"]) == (409, "conflict")
    code, _, err = await stage.dmi("apply", "-f", file)
    assert code == Exit.REFUSED
    assert "tank.yaml" in err
    file.unlink()


async def test_a_device_without_its_model(stage, plant):
    stage.write("orphan.yaml", tank("orphan") | {"spec": tank()["spec"] | REF_MISSING})
    await until("it is known", lambda: _knows(plant, "orphan"))
    status = await plant.status("orphan")
    assert "nosuch" in status["problem"]
    assert status["state"] != "online"
    problems = (await plant.get("/api/v1/status"))["problems"]
    assert "nosuch" in problems["default/orphan"]
    answer = await plant.put_desired("orphan", "setpoint", 1)
    assert answer.status_code == 404
    assert "nosuch" in answer.json()["detail"]


REF_MISSING = {"deviceModelRef": {"name": "nosuch"}}


async def _knows(manager, name):
    return (await manager.ask("GET", f"/api/v1/devices/default/{name}")).status_code == 200


async def test_a_property_that_is_not_in_the_model(stage, plant):
    stage.write("odd.yaml", tank("odd", colour={}))
    status = await until("it is told", lambda: _problem(plant, "odd"))
    assert "colour" in status["problem"]
    # The others of that device are served all the same.
    await plant.until_reported("odd", "level")
    assert (await plant.put_desired("odd", "colour", "red")).status_code == 404


async def _problem(manager, name):
    if not await _knows(manager, name):
        return None
    status = await manager.status(name)
    return status if status["problem"] else None


async def test_settings_that_the_driver_refuses(stage, plant):
    stage.write("misled.yaml", tank("misled", level={"shape": "cuonter"}))
    stage.write("lost.yaml", tank("lost", settings={"latency": -1}))
    status = await plant.until_state("lost", "unhealthy", "config")
    assert "spec.protocol.configData.latency" in status["message"]

    async def told():
        reported = (await plant.twin("misled", "level"))["reported"]
        return reported and reported["reason"] == "config"

    await until("the property is told", told)
    await plant.until_reported("misled", "setpoint", lambda value: value is not None)


WRONG_VALUES = {
    "out of range": ("setpoint", 100.5, 422, "out_of_range", Exit.REFUSED),
    "below": ("setpoint", -1, 422, "out_of_range", Exit.REFUSED),
    "wrong type": ("setpoint", "warm", 422, "conversion", Exit.REFUSED),
    "a list": ("setpoint", [1], 422, "conversion", Exit.REFUSED),
    "ReadOnly": ("level", 3, 403, "access_denied", Exit.DENIED),
    "no such property": ("nosuch", 3, 404, "not_found", Exit.NOT_FOUND),
}


async def test_values_that_cannot_be(stage, plant):
    for what, (prop, value, status, reason, code) in WRONG_VALUES.items():
        answer = await plant.put_desired("tank", prop, value)
        assert answer.headers["content-type"] == "application/problem+json", what
        said = answer.json()
        assert (answer.status_code, said["status"], said["reason"]) == (status, status, reason), (
            what
        )
        assert said["detail"], what
        if not isinstance(value, list):
            # Numbers below zero look like options.
            found = await stage.dmi("set", "--wait", "1", "--", "tank", prop, value)
            assert found[0] == code, (what, found)
            assert found[1] == "", what
            assert found[2].startswith("dmi: "), what
    assert (await plant.twin("tank", "setpoint"))["desired"] is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"value": null}', b'"x"'])
async def test_bodies_that_say_nothing(plant, body):
    answer = await plant.ask(
        "PUT", "/api/v1/devices/default/tank/twins/setpoint/desired", content=body
    )
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_value_that_the_mappers_rest_refuses(stage, plant):
    mapper = next(program for program in stage.programs if program.name == "mapper")
    rest = stage.rest_of(mapper)
    path = "/api/v1/devices/default/tank/properties"
    for prop, value, status in (("setpoint", 101, 422), ("level", 1, 403), ("nosuch", 1, 404)):
        answer = await rest.ask("PUT", f"{path}/{prop}", json={"value": value})
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


# ------------------------------------------------------------ our own settings ----


@pytest.mark.parametrize(
    ("words", "text", "told"),
    [
        (("manager",), "dataDri: /tmp/x\n", "dataDri"),
        (("manager",), "lease: soon\n", "lease"),
        (("manager",), "- a\n", "block of settings"),
        (("manager",), "a: [\n", "line 2"),
        (("mapper", VIRTUAL), "managerSokcet: /tmp/x\n", "managerSokcet"),
        (("mapper", VIRTUAL), "link: v9\n", "link"),
        (("mapper", "modbus"), "rest: here\n", "rest"),
    ],
)
async def test_settings_files_with_mistakes(dmi, socket_dir, words, text, told):
    file = socket_dir / "settings.yaml"
    file.write_text(text)
    code, out, err = await dmi(*words, "--config", file)
    assert code == Exit.USAGE
    assert out == ""
    assert str(file) in err
    assert told in err
    assert "Traceback" not in err


async def test_settings_from_elsewhere_with_mistakes(dmi, socket_dir):
    code, _, err = await dmi("manager", "--data-dir", socket_dir, DMI_MANAGER_LEASE="-1")
    assert (code, "DMI_MANAGER_LEASE" in err) == (Exit.USAGE, True)
    code, _, err = await dmi("manager", "--data-dri", socket_dir)
    assert (code, "--data-dri" in err) == (Exit.USAGE, True)
    code, _, err = await dmi("mapper", VIRTUAL, "--rest", "off", "--grace", "x")
    assert (code, "--grace" in err) == (Exit.USAGE, True)
    code, _, err = await dmi("mapper", "nosuch")
    assert code == Exit.NOT_FOUND
    code, _, err = await dmi("simulate", "modbus", "--fault", "nosuch")
    assert (code, "nosuch" in err) == (Exit.USAGE, True)


async def test_validate_finds_offline_what_would_go_wrong(dmi, socket_dir):
    file = socket_dir / "devices.yaml"
    wrong = device("tank", level={}, colour={})
    wrong["spec"]["properties"][0]["desired"] = {"value": "x"}
    file.write_text(json.dumps(wrong) + "\n---\n" + json.dumps(model(level="INT")))
    code, out, err = await dmi("validate", "-f", file)
    said = out + err
    assert code == Exit.REFUSED
    assert "colour" in said
    assert "spec.properties[0].desired.value" in said
    assert str(file) in said
