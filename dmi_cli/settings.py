"""What a driver's own settings models say of a device file."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from dmi.manifests import Fault, YamlPath
from dmi.resources import DataType, Device, DeviceModel, merge_defaults
from dmi.wording import closest, fault_of, field_names
from mapper_sdk.driver import Driver
from mapper_sdk.scaling import Common, split_settings

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
    faults = list(_faults(driver.link_model, spec.protocol.config_data, base, ""))
    types = {prop.name: prop.type for prop in model.spec.properties}
    for index, prop in enumerate(spec.properties):
        if prop.name not in types:
            continue  # told already: there is no such property in the model
        path: YamlPath = ("spec", "properties", index, "visitors", "configData")
        common, own = split_settings(prop.visitors.config_data, driver.visit_model)
        faults += _common_faults(common, path, types[prop.name])
        shared = field_names(Common, ())
        faults += _faults(driver.visit_model, own, path, types[prop.name], shared)
    return faults


def _common_faults(data: Mapping[str, object], base: YamlPath, declared: DataType) -> list[Fault]:
    faults = list(_faults(Common, data, base, declared))
    if faults:
        return faults
    common = Common.model_validate(data)
    problem = "must not be 0" if common.scale == 0 else f"means nothing for a {declared}"
    return [Fault((*base, name), problem) for name in common.misplaced(declared)]


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
