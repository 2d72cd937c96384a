"""Pages of sinks: their tables are those of the models, and what they show is understood."""

from pathlib import Path

import pytest
import yaml

from dmi.resources import Device
from mapper_sdk.delivery.config import DeliveryConfig
from mapper_sdk.delivery.routing.push import declared_pushes, merged
from mapper_sdk.delivery.sink import Sink
from mapper_sdk.settings_docs import render
from mapper_sdk.sinks.kinds import KINDS, sink_class
from mapper_sdk.sinks.tls import Tls

ROOT = Path(__file__).parents[2]
PAGES = sorted(kind for kind in KINDS if (ROOT / "docs" / "sinks" / f"{kind}.md").exists())


def shown(page, task):
    """What the blocks of one task hold."""
    return [yaml.safe_load(block.text) for block in page.blocks if block.task == task]


@pytest.mark.parametrize("kind", PAGES)
def test_tables_are_those_of_the_models(page, kind):
    """After changing a setting: python scripts/document_settings.py."""
    text, sink = page(f"docs/sinks/{kind}.md").text, sink_class(kind)
    models = {"target": sink.target_model, "place": sink.place_model, "tls": Tls}
    there = {name: m for name, m in models.items() if f"<!-- {name} settings -->" in text}
    assert "target" in there
    assert render(text, there) == text


@pytest.mark.parametrize("kind", PAGES)
def test_settings_of_the_mapper_are_understood(page, kind):
    for block in shown(page(f"docs/sinks/{kind}.md"), "mapper"):
        delivery = DeliveryConfig.model_validate(block["delivery"])
        for one in delivery.sinks:
            sink = sink_class(one.kind)
            sink.target_model.model_validate(one.target)
            sink.place_model.model_validate(one.place)


@pytest.mark.parametrize("kind", PAGES)
def test_the_device_pushes_to_what_the_page_is_about(page, kind):
    pages = page(f"docs/sinks/{kind}.md")
    added = [
        rule.set
        for block in shown(pages, "mapper")
        for rule in DeliveryConfig.model_validate(block["delivery"]).pushed
    ]
    for block in shown(pages, "device"):
        device = Device.model_validate(block)
        pushes = [
            push
            for prop in device.spec.properties
            if prop.push_method is not None
            for push in declared_pushes(prop.push_method)
        ]
        can = sink_class(kind).pushed.__func__ is not Sink.pushed.__func__
        assert (kind in [kind_ for _, kind_, _ in pushes]) is can
        for _, kind_, declared in pushes:
            sink = sink_class(kind_)
            target, place = sink.pushed(declared)
            for more in added:
                target = merged(target, more)
            sink.target_model.model_validate(target)
            sink.place_model.model_validate(place)
