import math

import pytest

from dmi.errors import (
    AccessDeniedError,
    ConfigError,
    ConflictError,
    ConversionError,
    NotFoundError,
    OutOfRangeError,
)
from dmi.readings import Quality
from dmi.resources import Key
from mapper_sdk.devices.planning import build_plan
from mapper_sdk.sessions.writing import Progress

DEVICE = Key("default", "dev")


@pytest.fixture
async def mixed(plant, make):
    """A device with a property that is read and a derived one, which is stale after 2 s."""
    plant.station().memory = {1: 20.0}
    model = make.model(
        temp={},
        mean={"minimum": "0", "maximum": "100"},
        plain={"type": "STRING"},
    )
    async with plant.running():
        await plant.put(
            model,
            make.device(
                temp={"cell": 1},
                mean={"derived": True, "maxAge": 2000},
                plain={"derived": "true"},
            ),
        )
        yield plant


@pytest.fixture
async def lonely(plant, make):
    """A device that nobody can reach, and need not: its one property is derived."""
    device = make.device(mean={"derived": True}).to_json()
    device["spec"]["protocol"]["configData"] = {}
    async with plant.running():
        await plant.put(make.model(mean={}), type(make.device()).model_validate(device))
        yield plant


async def test_only_the_others_are_asked_of_the_device(mixed):
    await mixed.clock.advance(1.5)
    assert {tuple(cells) for cells in mixed.station().reads} == {(1,)}
    assert mixed.values("mean") == []


async def test_a_reading_goes_the_way_of_all(mixed):
    given = mixed.mapper.derive(DEVICE, "mean", 21, time=mixed.clock.time() - 1)
    assert (given.value, type(given.value), given.quality) == (21.0, float, Quality.GOOD)
    assert mixed.session().point("mean").latest is given
    assert mixed.values("mean") == [21.0]


async def test_a_live_read_gives_the_last_one_and_asks_nobody(lonely):
    lonely.mapper.derive(DEVICE, "mean", 4.0)
    found = await lonely.session().read_now(["mean"])
    assert found["mean"].value == 4.0
    assert lonely.station().drivers == []


@pytest.mark.parametrize(
    ("name", "value", "more", "error"),
    [
        ("mean", "warm", {}, ConversionError),
        ("mean", math.nan, {}, ConversionError),
        ("mean", 101.0, {}, OutOfRangeError),
        ("mean", None, {}, ConversionError),
        ("mean", 1.0, {"quality": Quality.BAD}, ConversionError),
        ("mean", 1.0, {"time": -1.0}, ConversionError),
        ("mean", 1.0, {"time": math.nan}, ConversionError),
        ("mean", 1.0, {"time": 1e12}, ConversionError),
        ("temp", 1.0, {}, AccessDeniedError),
        ("nothing", 1.0, {}, NotFoundError),
    ],
)
async def test_what_does_not_fit_is_refused_and_named(mixed, name, value, more, error):
    with pytest.raises(error) as caught:
        mixed.mapper.derive(DEVICE, name, value, **more)
    assert type(caught.value) is error
    assert str(caught.value).startswith("default/dev: ")
    assert mixed.values("mean") == []


async def test_a_device_that_is_not_served_takes_nothing(mixed):
    with pytest.raises(NotFoundError):
        mixed.mapper.derive(Key("default", "other"), "mean", 1.0)


async def test_a_property_with_a_problem_takes_nothing(plant, make):
    async with plant.running():
        await plant.put(make.model(mean={}), make.device(mean={"derived": True, "cell": 1}))
        assert "cell: unknown field" in plant.session().point("mean").problem
        with pytest.raises(ConfigError):
            plant.mapper.derive(DEVICE, "mean", 1.0)


async def test_an_older_reading_comes_too_late(mixed):
    now = mixed.clock.time()
    mixed.mapper.derive(DEVICE, "mean", 2.0, time=now - 5)
    mixed.mapper.derive(DEVICE, "mean", 3.0, time=now - 5)
    with pytest.raises(ConflictError):
        mixed.mapper.derive(DEVICE, "mean", 1.0, time=now - 6)
    assert mixed.values("mean") == [2.0, 3.0]


async def test_an_app_may_say_that_it_knows_nothing(mixed):
    mixed.mapper.derive(DEVICE, "mean", None, quality=Quality.BAD, reason="no_input")
    assert mixed.reasons("mean") == ["no_input"]
    mixed.mapper.derive(DEVICE, "mean", 5.0, quality=Quality.UNCERTAIN, reason="few")
    assert mixed.session().point("mean").latest.quality is Quality.UNCERTAIN


async def test_what_nobody_has_published_since_the_start_becomes_stale_too(mixed):
    """The app may have died together with the last mapper process."""
    await mixed.clock.advance(5)
    assert mixed.reasons("mean") == ["stale"]
    assert mixed.reasons("plain") == []
    mixed.mapper.derive(DEVICE, "mean", 4.0)
    assert mixed.values("mean")[-1] == 4.0


async def test_what_nobody_renews_becomes_stale_once(mixed):
    mixed.mapper.derive(DEVICE, "mean", 1.0)
    await mixed.clock.advance(1.5)
    mixed.mapper.derive(DEVICE, "mean", 2.0)
    await mixed.clock.advance(1.5)
    assert mixed.values("mean") == [1.0, 2.0]
    await mixed.clock.advance(5)
    assert mixed.values("mean") == [1.0, 2.0, None]
    assert mixed.reasons("mean")[-1] == "stale"
    # The time of being found stale is ours: an app's reading may be a little older.
    mixed.mapper.derive(DEVICE, "mean", 3.0, time=mixed.clock.time() - 4)
    assert mixed.values("mean")[-1] == 3.0


async def test_a_changed_age_counts_from_the_next_reading(mixed, make):
    mixed.mapper.derive(DEVICE, "mean", 1.0)
    await mixed.put(make.device(temp={"cell": 1}, mean={"derived": True}, plain={"derived": True}))
    mixed.mapper.derive(DEVICE, "mean", 2.0)
    await mixed.clock.advance(10)
    assert mixed.values("mean") == [1.0, 2.0]


async def test_a_lost_device_leaves_derived_readings_alone(mixed):
    mixed.mapper.derive(DEVICE, "plain", "fine")
    mixed.station().reachable = False
    await mixed.clock.advance(2)
    assert mixed.state().state == "offline"
    assert mixed.session().point("plain").latest.value == "fine"
    mixed.mapper.derive(DEVICE, "plain", "still")
    assert mixed.values("plain") == ["fine", "still"]


async def test_a_device_of_derived_properties_alone_needs_no_device(lonely):
    assert lonely.state().state == "online"
    lonely.mapper.derive(DEVICE, "mean", 7)
    assert lonely.values("mean") == [7.0]


async def test_it_is_let_go_of_like_any_other(lonely):
    session = lonely.session()
    lonely.link.served.remove_device(DEVICE)
    await lonely.clock.settle()
    assert session.closed.is_set()
    with pytest.raises(NotFoundError):
        lonely.mapper.derive(DEVICE, "mean", 1.0)


async def test_a_derived_device_may_become_a_real_one_and_back(lonely, make):
    lonely.station().memory = {3: 30.0}
    await lonely.put(make.device(mean={"cell": 3}))
    assert lonely.state().state == "online"
    assert lonely.values("mean") == [30.0]
    with pytest.raises(AccessDeniedError):
        lonely.mapper.derive(DEVICE, "mean", 1.0)
    await lonely.put(make.device(mean={"derived": True}))
    lonely.mapper.derive(DEVICE, "mean", 1.0)
    assert lonely.values("mean") == [30.0, 1.0]
    assert lonely.station().closes == 1


async def test_nobody_writes_it(mixed, make):
    with pytest.raises(AccessDeniedError, match="derived"):
        await mixed.session().write_all({"mean": 5.0}, Progress())
    await mixed.put(make.wish("mean", 5.0))
    assert mixed.outcomes() == [("mean", 1, "REJECTED")]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"derived": True, "scale": 2}, "scale: means nothing for a derived property"),
        ({"cell": 1, "maxAge": 5}, "maxAge: means nothing without `derived`"),
        ({"derived": True, "cell": 1}, "cell: unknown field"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(plant, make, settings, problem):
    plan = build_plan(
        make.device(mean=settings), make.model(mean={}), plant.mapper.driver_class, iter([1])
    )
    assert problem in plan.problems["mean"]
