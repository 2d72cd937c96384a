"""Small models and devices for the manager's tests."""

from dmi.resources import Device, DeviceModel, Key

PUMP = Key("default", "pump")
MODEL = Key("default", "pumps")


def model(name="pumps", *, protocol="modbus", **properties):
    """`speed="INT"`, or `speed={"type": "INT", "maximum": "9"}`; all ReadWrite unless told."""
    declared = []
    for prop, about in (properties or {"speed": "INT", "label": "STRING"}).items():
        fields = {"type": about} if isinstance(about, str) else about
        declared.append({"name": prop, "accessMode": "ReadWrite", **fields})
    return DeviceModel.model_validate(
        {"metadata": {"name": name}, "spec": {"protocol": protocol, "properties": declared}}
    )


def device(name="pump", *, of="pumps", protocol="modbus", config=None, **properties):
    """`speed="5"` desires 5, `speed=None` desires nothing."""
    return Device.model_validate(
        {
            "metadata": {"name": name},
            "spec": {
                "deviceModelRef": {"name": of},
                "protocol": {"protocolName": protocol, "configData": config or {}},
                "properties": [
                    {"name": prop} | ({} if text is None else {"desired": {"value": text}})
                    for prop, text in (properties or {"speed": None, "label": None}).items()
                ],
            },
        }
    )
