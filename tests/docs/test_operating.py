"""What docs/operating.md lists is what the programs have."""

import configparser
import re
import shlex

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from device_manager.api.app import create_app
from device_manager.config import ManagerConfig
from device_manager.config import parse_options as manager_options
from device_manager.dmi_service.server import serve
from device_manager.node import Node
from dmi.feed import Feed
from dmi_cli.exits import Exit
from mapper_sdk.config import MapperConfig
from mapper_sdk.config import parse_options as mapper_options
from mapper_sdk.delivery.metrics import families
from mapper_sdk.link.files import FilesLink
from mapper_sdk.mapper import Mapper
from mapper_sdk.rest.app import make_app
from mapper_sdk.settings_docs import render
from mapper_sdk.virtual import VirtualDriver


@pytest.fixture
def operating(page):
    return page("docs/operating.md")


def test_settings_are_those_of_the_models(operating):
    """After changing a setting: python scripts/document_settings.py."""
    models = {"manager": ManagerConfig, "mapper": MapperConfig}
    assert render(operating.text, models) == operating.text


def metrics_of(exposition):
    return dict(re.findall(r"^# HELP (dmi_\w+) (.*)$", exposition.decode(), re.MULTILINE))


def told(operating, name):
    return {metric.strip("`"): text for metric, _, text in operating.table(name)}


async def test_metrics_of_the_manager(operating, socket_dir):
    node = await Node.open(socket_dir / "manager.db", synchronous="normal")
    try:
        async with serve(node, socket_dir / "dmi.sock", lease=10, grace=1) as dmi:
            exposition = generate_latest(create_app(node, dmi).state.registry)
    finally:
        await node.close()
    assert told(operating, "manager metrics") == metrics_of(exposition)


async def test_metrics_of_a_mapper(operating, tmp_path):
    mapper = Mapper(VirtualDriver, FilesLink(tmp_path))
    exposition = make_app(mapper, Feed()).state.api.metrics.exposition()
    assert told(operating, "mapper metrics") == metrics_of(exposition)


class Targets:
    def collect(self):
        return families([], {})


def test_metrics_of_targets(operating):
    registry = CollectorRegistry()
    registry.register(Targets())
    assert told(operating, "target metrics") == metrics_of(generate_latest(registry))


def test_exit_codes(operating):
    assert [int(code) for code, _ in operating.table("exits")] == [code.value for code in Exit]


def accept(command):
    """Refuses what the programs' command lines would refuse."""
    program, verb, *words = command
    assert program.rpartition("/")[2] == "dmi"
    if verb == "manager":
        manager_options(words)
    else:
        assert verb == "mapper"
        mapper_options(words[1:], words[0])


@pytest.mark.parametrize("name", ["dmi-manager.service", "dmi-mapper@.service"])
def test_units_start_what_exists(operating, name):
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read_string(operating.file(name))
    accept(shlex.split(unit["Service"]["ExecStart"]))
    assert unit["Service"]["Restart"] == "always"


def test_pods_start_what_exists_and_mount_what_they_name(operating):
    pod = yaml.safe_load(operating.file("daemonset.yaml"))["spec"]["template"]["spec"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    for container in pod["containers"]:
        accept(container["command"])
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    accept(yaml.safe_load(operating.file("edgecore-volume.yaml"))["command"])
