from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mapper_sdk.settings_docs import render, settings_table


class Colour(StrEnum):
    RED = "red"


class Lamp(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    base_colour: Colour = Field(default=Colour.RED, description="Of light.")
    power: float = Field(
        default=1, gt=0, le=9, description="How much.", json_schema_extra={"unit": "W"}
    )
    name: str = Field(description="What it is called.")
    pin: int | None = Field(default=None, ge=1, description="Where.")


def test_a_table_says_everything_of_a_setting():
    assert settings_table(Lamp).splitlines()[2:] == [
        "| `baseColour` | string |  | `red` | `red` | Of light. |",
        "| `power` | number | W | `1` | above 0 to 9 | How much. |",
        "| `name` | string |  | required |  | What it is called. |",
        "| `pin` | integer |  |  | from 1 | Where. |",
    ]


def test_a_column_that_would_be_empty_is_left_out():
    class Switch(BaseModel):
        model_config = ConfigDict(alias_generator=to_camel)

        pin: int = Field(default=4, ge=1, description="Where.")

    assert settings_table(Switch).splitlines() == [
        "| setting | type | default | allowed | meaning |",
        "|---|---|---|---|---|",
        "| `pin` | integer | `4` | from 1 | Where. |",
    ]


def test_what_is_empty_unless_given_has_no_default():
    class Chest(BaseModel):
        model_config = ConfigDict(alias_generator=to_camel)

        made: dict[str, str] = Field(default_factory=dict, description="Contents.")
        given: tuple[str, ...] = Field(default=(), description="More.")

    assert settings_table(Chest).splitlines()[2:] == [
        "| `made` | object |  |  | Contents. |",
        "| `given` | array |  |  | More. |",
    ]


def test_tables_replace_what_stands_between_their_marks():
    page = "A\n<!-- lamp settings -->\nstale\n<!-- end -->\nB\n"
    once = render(page, {"lamp": Lamp})
    assert once.startswith("A\n<!-- lamp settings -->\n| setting |")
    assert once.endswith("<!-- end -->\nB\n")
    assert "stale" not in once
    assert render(once, {"lamp": Lamp}) == once
