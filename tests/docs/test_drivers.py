"""The tables of docs/drivers.md are those of the contract."""

import inspect

from mapper_sdk import driver


def test_every_ability_is_there(page):
    told = {name.strip("`") for name, *_ in page("docs/drivers.md").table("abilities")}
    public = {name: getattr(driver, name) for name in driver.__all__}
    abilities = {name for name, kind in public.items() if inspect.isabstract(kind)} - {"Driver"}
    assert told == abilities


def test_every_method_of_the_contract_is_there(page):
    text = page("docs/drivers.md").text
    for name in driver.Driver.__abstractmethods__:
        assert f"| `{name}(" in text
