"""What a stock EdgeCore does to the objects and values that pass through it.

EdgeCore answers OK to reports that it drops later, and delivers some devices changed or not at
all. These are the rules by which that can be foreseen. They were read from KubeEdge v1.23.
"""

import re
from collections.abc import Mapping
from typing import Final

from dmi.floats import FLOAT32_LIMIT, float32_text, narrow, round_float32
from dmi.manifests import Fault, YamlPath
from dmi.resources import Device, DeviceModel, DeviceProperty
from dmi.wording import describe

__all__ = [
    "CALLS_BURST",
    "CALLS_PER_SECOND",
    "MAX_NAME",
    "MAX_VALUE",
    "STATE_WORDS",
    "device_faults",
    "model_faults",
    "name_fault",
    "namespace_fault",
    "state_fault",
    "value_fault",
]

CALLS_PER_SECOND: Final = 1.0
"""Refill of the one bucket for all DMI calls of all mappers of the node."""
CALLS_BURST: Final = 100
"""Size of that bucket."""
MAX_NAME: Final = 128
"""Characters of a twin's name."""
MAX_VALUE: Final = 512
"""Characters of a twin's value."""
STATE_WORDS: Final = frozenset({"online", "offline", "ok", "unknown", "unhealthy"})
"""Device states that EdgeCore takes, without regard to case; others vanish."""

_REFUSED: Final = re.compile(r"[^a-zA-Z0-9\-_.,:/@#]")
_TOPIC: Final = "$hw/events/device/"
_NANOSECONDS: Final = 1_000_000_000
_DAY: Final = 86_400_000


def value_fault(text: str) -> str | None:
    """Why EdgeCore would drop a twin whose reported or desired value is `text`; None: it keeps it.

    Source:
        edge/pkg/devicetwin/dtcommon/util.go, the check of twin values; empty text passes.
    """
    return _text_fault(text, MAX_VALUE)


def name_fault(name: str) -> str | None:
    """Why EdgeCore would drop every twin of a property of this name; None: it keeps them."""
    return "it is empty" if not name else _text_fault(name, MAX_NAME)


def _text_fault(text: str, limit: int) -> str | None:
    if len(text) > limit:
        return f"it is longer than {limit} characters"
    found = _REFUSED.search(text)
    return f"it contains {found[0]!r}" if found else None


def state_fault(state: str) -> str | None:
    """Why EdgeCore would drop a state report of this word; None: it keeps it."""
    if state.lower() in STATE_WORDS:
        return None
    return f"it is not one of {', '.join(sorted(STATE_WORDS))}"


def namespace_fault(namespace: str) -> str | None:
    """Why EdgeCore would drop all reports of devices in this namespace; None: it does not.

    It looks for the namespace by its first occurrence in the topic, whose fixed beginning
    may contain the same letters.

    Source:
        edge/pkg/devicetwin/process.go, classifyMsg.
    """
    if namespace in _TOPIC:
        return f"the text {namespace!r} also occurs in EdgeCore's own topic {_TOPIC}"
    return None


def device_faults(device: Device) -> list[Fault]:
    """What a stock EdgeCore would do to this device, place by place."""
    spec = device.spec
    faults: list[Fault] = []
    if trap := namespace_fault(device.metadata.namespace):
        problem = f"every report of this device is dropped: {trap}"
        faults.append(Fault(("metadata", "namespace"), problem))
    if not spec.node_name:
        faults.append(Fault(("spec", "nodeName"), "is empty: the device is sent to no node"))
    elif not spec.device_model_ref.name:
        problem = "is missing: CloudCore can crash on such a device"
        faults.append(Fault(("spec", "deviceModelRef"), problem))
    faults += _config_faults(spec.protocol.config_data, ("spec", "protocol", "configData"))
    for index, prop in enumerate(spec.properties):
        faults += _property_faults(prop, ("spec", "properties", index))
    return faults + _rate_faults(device)


def _property_faults(prop: DeviceProperty, path: YamlPath) -> list[Fault]:
    faults = _name_faults(prop.name, path)
    if prop.desired is not None and (problem := value_fault(prop.desired.value)):
        text = f"a twin with this value is dropped: {problem}"
        faults.append(Fault((*path, "desired", "value"), text))
    faults += _config_faults(prop.visitors.config_data, (*path, "visitors", "configData"))
    cycles = {"collectCycle": prop.collect_cycle, "reportCycle": prop.report_cycle}
    for name, cycle in cycles.items():
        if cycle >= _NANOSECONDS:
            text = f"{cycle} ms is {cycle / _DAY:.1f} days"
            hint = "the unit is milliseconds; KubeEdge v1.15 and v1.16 counted nanoseconds"
            faults.append(Fault((*path, name), text, hint))
    return faults


def _name_faults(name: str, path: YamlPath) -> list[Fault]:
    problem = name_fault(name)
    if problem is None:
        return []
    return [Fault((*path, "name"), f"every value of this property is dropped: {problem}")]


def model_faults(model: DeviceModel) -> list[Fault]:
    """What a stock EdgeCore would do to this model, place by place."""
    faults: list[Fault] = []
    if not model.spec.protocol:
        faults.append(Fault(("spec", "protocol"), "is missing: the model is sent to no mapper"))
    faults += _config_faults(model.spec.protocol_config_data, ("spec", "protocolConfigData"))
    for index, prop in enumerate(model.spec.properties):
        path: YamlPath = ("spec", "properties", index)
        faults += _name_faults(prop.name, path)
        if prop.visitors is not None:
            faults += _config_faults(prop.visitors.config_data, (*path, "visitors", "configData"))
    return faults


def _config_faults(config: Mapping[str, object], path: YamlPath) -> list[Fault]:
    faults = []
    for key, value in config.items():
        place = (*path, key)
        if key.lower() == "data" and not isinstance(value, dict):
            problem = "the device is never delivered: EdgeCore uses the key `data` itself"
            faults.append(Fault(place, problem, "choose another name"))
        elif value is None or isinstance(value, dict | list):
            problem = f"the device is never delivered: {describe(value)} cannot be converted"
            faults.append(Fault(place, problem, "only text, numbers, true and false can"))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            faults += _number_faults(value, place)
    return faults


def _number_faults(value: float, place: YamlPath) -> list[Fault]:
    """Every number of configData becomes a 32-bit float on its way to the mapper."""
    if abs(value) >= FLOAT32_LIMIT:
        arrives = "infinity"
    elif isinstance(value, int):
        arrives = f"{narrow(value):.0f}"
        if int(arrives) == value:
            return []
    elif round_float32(value) == value:
        return []
    else:
        arrives = float32_text(value)
    problem = f"the mapper gets {arrives}: EdgeCore makes every number a 32-bit float"
    return [Fault(place, problem, "text in quotes arrives unchanged")]


def _rate_faults(device: Device) -> list[Fault]:
    """Even one device alone can ask for more than the whole node may have."""
    reported = [prop for prop in device.spec.properties if prop.report_to_cloud]
    fastest = min((prop.collect_cycle or 1000 for prop in reported), default=1000)
    if fastest >= 1000 / CALLS_PER_SECOND:
        return []
    problem = (
        f"a property is collected every {fastest} ms, but EdgeCore takes one report a second"
        " of all devices of the node together"
    )
    return [Fault(("spec", "properties"), problem, "newest value wins, others are not sent")]
