"""What a driver's own settings models say of a device file."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from dmi.manifests import Fault, YamlPath
from dmi.resources import DataType, Device, DeviceModel, merge_defaults
from dmi.wording import closest, fault_of, field_names
from mapper_sdk.devices.planning import visit_model_of
from mapper_sdk.devices.scaling import DEFAULTS, Common, split_settings
from mapper_sdk.driver import Driver

__all__ = ["settings_faults"]


def settings_faults(
    device: Device, model: DeviceModel, driver: type[Driver[Any, Any]]
) -> list[Fault]:
    """Faults in a device's configData, by the models that its driver reads it with.

    Args:
        device: As written.
        model: Its model, whose defaults are merged in first.
        driver: The driver of the device's protocol.
    """
    spec = merge_defaults(device, model).spec
    base: YamlPath = ("spec", "protocol", "configData")
    faults: list[Fault] = []
    derived = 0
    types = {prop.name: prop.type for prop in model.spec.properties}
    for index, prop in enumerate(spec.properties):
        if prop.name not in types:
            continue  # told already: there is no such property in the model
        path: YamlPath = ("spec", "properties", index, "visitors", "configData")
        given, own = split_settings(prop.visitors.config_data, driver.visit_model)
        wrong, common = _read_common(given, path, types[prop.name])
        derived += common.derived
        shared = field_names(Common, ())
        visit_model = visit_model_of(driver, common)
        faults += [*wrong, *_faults(visit_model, own, path, types[prop.name], shared)]
    if not spec.properties or derived < len(spec.properties):
        faults[:0] = _faults(driver.link_model, spec.protocol.config_data, base, "")
    return faults


def _read_common(
    data: Mapping[str, object], base: YamlPath, declared: DataType
) -> tuple[list[Fault], Common]:
    faults = list(_faults(Common, data, base, declared))
    if faults:
        return faults, DEFAULTS
    common = Common.model_validate(data)
    wrong = common.misplaced(declared)
    return [Fault((*base, name), common.why_misplaced(name, declared)) for name in wrong], common


def _faults(
    model: type[BaseModel],
    data: Mapping[str, object],
    base: YamlPath,
    declared: str,
    also: Sequence[str] = (),
) -> Iterable[Fault]:
    try:
        model.model_validate(data, context={"type": declared})
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            fault = fault_of(detail, model)
            hint = fault.hint
            if detail["type"] == "extra_forbidden" and also:
                hint = closest(str(fault.path[-1]), [*field_names(model, ()), *also]) or hint
            yield Fault((*base, *fault.path), fault.problem, hint)
