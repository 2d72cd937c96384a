"""Device and DeviceModel of CRD `devices.kubeedge.io/v1alpha2`, turned into v1beta1.

Upstream serves both versions without converting between them. Here the built-in protocols become
flat configData with the key names of KubeEdge's own v1beta1 samples. What v1beta1 cannot say is
dropped: `data` (an MQTT topic for the old SDKs) and `defaultValue` (which nothing used).
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from dmi import resources
from dmi.resources import AccessMode, ConfigData, DataType, PropertyName, Resource

__all__ = ["Device", "DeviceModel", "cycle_to_milliseconds"]

API_VERSION: Final = "devices.kubeedge.io/v1alpha2"

Count = Annotated[int, Field(ge=0)]
Number = int | float
NANOSECONDS: Final = 1_000_000


def cycle_to_milliseconds(cycle: int) -> int:
    """Turn a v1alpha2 cycle into milliseconds; 0, meaning the default, into 1000.

    The unit is nanoseconds, but samples with plain milliseconds are in circulation. A number
    below a million would be less than a millisecond, so it is taken for milliseconds.
    """
    if cycle == 0:
        return 1000
    return cycle if cycle < NANOSECONDS else round(cycle / NANOSECONDS)


def _only(owner: Resource, names: tuple[str, ...]) -> None:
    """Members that are alternatives by convention.

    Raises:
        ValueError: Two are set.
    """
    fields = type(owner).model_fields
    found = [fields[name].alias or name for name in names if getattr(owner, name) is not None]
    if len(found) > 1:
        raise ValueError(f"only one of {' and '.join(found)} may be set")


def _protocol_of(
    opcua: Resource | None, modbus: Resource | None, bluetooth: Resource | None
) -> tuple[str, ConfigData]:
    for name, settings in (("opcua", opcua), ("modbus", modbus), ("bluetooth", bluetooth)):
        if settings is not None:
            return name, _said(settings)
    return "", {}


def _said(settings: Resource) -> ConfigData:
    """What was written, without defaults, so that a driver's own defaults hold."""
    return settings.to_json()


class OpcUa(Resource):
    """Connection settings of OPC UA."""

    url: str = ""
    user_name: str = ""
    password: str = ""
    security_policy: str = ""
    security_mode: str = ""
    certificate: str = ""
    private_key: str = ""
    timeout: Count = 0


class Modbus(Resource):
    """Connection settings of Modbus."""

    slave_id: Annotated[int, Field(ge=0, le=255, alias="slaveID")] = 0


class Bluetooth(Resource):
    """Connection settings of Bluetooth."""

    mac_address: str = ""


class Customized(Resource):
    """Settings of any other protocol."""

    protocol_name: str = ""
    config_data: ConfigData = Field(default_factory=dict)


class Com(Resource):
    """A serial line."""

    serial_port: str = ""
    baud_rate: Count = 0
    data_bits: Annotated[int, Field(ge=5, le=8)] = 8
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: Annotated[int, Field(ge=1, le=2)] = 1


class Tcp(Resource):
    """A TCP endpoint."""

    ip: str = ""
    port: Annotated[int, Field(ge=0, le=65535)] = 0


class Common(Resource):
    """Transport settings that any protocol may have."""

    com: Com | None = None
    tcp: Tcp | None = None
    comm_type: str = ""
    reconn_timeout: Count = 0
    reconn_retry_times: Count = 0
    collect_timeout: Count = 0
    collect_retry_times: Count = 0
    collect_type: Literal["", "sync", "async"] = ""
    customized_values: ConfigData = Field(default_factory=dict)


class Protocol(Resource):
    """How the device is reached: one protocol, and perhaps `common`."""

    opcua: OpcUa | None = None
    modbus: Modbus | None = None
    bluetooth: Bluetooth | None = None
    common: Common | None = None
    customized_protocol: Customized | None = None

    @model_validator(mode="after")
    def _one_of(self) -> "Protocol":
        _only(self, ("opcua", "modbus", "bluetooth", "customized_protocol"))
        return self

    def upgraded(self) -> resources.ProtocolConfig:
        """As a name and flat configData."""
        name, config = _protocol_of(self.opcua, self.modbus, self.bluetooth)
        if self.customized_protocol is not None:
            name = self.customized_protocol.protocol_name
            config = dict(self.customized_protocol.config_data)
        if self.common is not None:
            flat = _said(self.common)
            for part in ("com", "tcp", "customizedValues"):
                flat |= flat.pop(part, {})
            config = {**flat, **config}
        return resources.ProtocolConfig(protocol_name=name, config_data=config)


class OpcUaVisitor(Resource):
    """A node of an OPC UA server."""

    node_id: str = Field(default="", alias="nodeID")
    browse_name: str = ""


class ModbusVisitor(Resource):
    """Registers of a Modbus device."""

    register_kind: Annotated[
        Literal["CoilRegister", "DiscreteInputRegister", "InputRegister", "HoldingRegister"],
        Field(alias="register"),
    ]
    offset: Count = 0
    limit: Count = 1
    scale: Number = 1.0
    is_swap: bool = False
    is_register_swap: bool = False


class Operation(Resource):
    """One step of arithmetic on a Bluetooth value."""

    operation_type: Literal["Add", "Subtract", "Multiply", "Divide"]
    operation_value: Number


class DataConverter(Resource):
    """How bytes of a characteristic become a number."""

    start_index: int = 0
    end_index: int = 0
    shift_left: Count = 0
    shift_right: Count = 0
    order_of_operations: list[Operation] = Field(default_factory=list)


class BluetoothVisitor(Resource):
    """A characteristic of a Bluetooth device."""

    characteristic_uuid: str = Field(default="", alias="characteristicUUID")
    data_write: dict[str, Any] = Field(default_factory=dict)
    data_converter: DataConverter | None = None


class PropertyVisitor(Resource):
    """How one property is reached and how often."""

    property_name: PropertyName
    report_cycle: Count = 0
    collect_cycle: Count = 0
    customized_values: ConfigData = Field(default_factory=dict)
    opcua: OpcUaVisitor | None = None
    modbus: ModbusVisitor | None = None
    bluetooth: BluetoothVisitor | None = None
    customized_protocol: Customized | None = None

    @model_validator(mode="after")
    def _one_of(self) -> "PropertyVisitor":
        _only(self, ("opcua", "modbus", "bluetooth", "customized_protocol"))
        return self

    def upgraded(self, desired: resources.TwinProperty | None) -> resources.DeviceProperty:
        """As a property of a v1beta1 device; every twin of that era went to the cloud."""
        name, config = _protocol_of(self.opcua, self.modbus, self.bluetooth)
        if self.customized_protocol is not None:
            name = self.customized_protocol.protocol_name
            config = dict(self.customized_protocol.config_data)
        config = {**self.customized_values, **config}
        return resources.DeviceProperty.model_validate(
            {
                "name": self.property_name,
                "visitors": {"protocolName": name, "configData": config},
                "collectCycle": cycle_to_milliseconds(self.collect_cycle),
                "reportCycle": cycle_to_milliseconds(self.report_cycle),
                "reportToCloud": True,
                **({"desired": desired.to_json()} if desired is not None else {}),
            }
        )


class Twin(Resource):
    """Both sides of a property; users wrote `desired` here."""

    property_name: str
    desired: resources.TwinProperty | None = None
    reported: resources.TwinProperty | None = None


class Status(Resource):
    """State of a device."""

    twins: list[Twin] = Field(default_factory=list)


class Expression(Resource):
    """One condition on a node."""

    key: str = ""
    operator: str = ""
    values: list[str] = Field(default_factory=list)


class Term(Resource):
    """Conditions that hold together."""

    match_expressions: list[Expression] = Field(default_factory=list)
    match_fields: list[Expression] = Field(default_factory=list)


class NodeSelector(Resource):
    """Which node serves the device."""

    node_selector_terms: list[Term] = Field(default_factory=list)

    def node_name(self) -> str:
        """The one node that is named; empty when it is none or several."""
        expressions = [e for term in self.node_selector_terms for e in term.match_expressions]
        names = [name for e in expressions if e.operator == "In" for name in e.values]
        return names[0] if len(names) == 1 else ""


class DeviceSpec(Resource):
    """Body of a Device."""

    device_model_ref: resources.ModelReference = resources.ModelReference()
    protocol: Protocol = Protocol()
    property_visitors: list[PropertyVisitor] = Field(default_factory=list)
    data: dict[str, Any] = Field(default_factory=dict)
    node_selector: NodeSelector = NodeSelector()


class Device(Resource):
    """One device."""

    api_version: Literal["devices.kubeedge.io/v1alpha2"]
    kind: Literal["Device"]
    metadata: resources.Metadata
    spec: DeviceSpec = DeviceSpec()
    status: Status = Status()

    def upgraded(self) -> resources.Device:
        """As v1beta1."""
        desired = {twin.property_name: twin.desired for twin in self.status.twins}
        spec = resources.DeviceSpec(
            device_model_ref=self.spec.device_model_ref,
            node_name=self.spec.node_selector.node_name(),
            protocol=self.spec.protocol.upgraded(),
            properties=[
                visitor.upgraded(desired.get(visitor.property_name))
                for visitor in self.spec.property_visitors
            ],
        )
        return resources.Device(metadata=self.metadata, spec=spec)


class TypedBody(Resource):
    """What a property's type says beside its name."""

    access_mode: AccessMode = AccessMode.READ_ONLY
    default_value: Any = None
    minimum: Number | None = None
    maximum: Number | None = None
    unit: str = ""


class PropertyType(Resource):
    """Type of a model's property: exactly one member is set."""

    int_: TypedBody | None = Field(default=None, alias="int")
    string: TypedBody | None = None
    double: TypedBody | None = None
    float_: TypedBody | None = Field(default=None, alias="float")
    boolean: TypedBody | None = None
    bytes_: TypedBody | None = Field(default=None, alias="bytes")

    @model_validator(mode="after")
    def _one_of(self) -> "PropertyType":
        if not self.model_fields_set:
            raise ValueError("one of int, string, double, float, boolean, bytes must be set")
        _only(self, tuple(type(self).model_fields))
        return self


class ModelProperty(Resource):
    """A property that devices of a model may have."""

    name: PropertyName
    description: str = ""
    type: PropertyType

    def upgraded(self) -> resources.ModelProperty:
        """As v1beta1, where bounds are text."""
        name = next(iter(self.type.model_fields_set))
        body: TypedBody = getattr(self.type, name)
        return resources.ModelProperty(
            name=self.name,
            description=self.description,
            type=DataType(name.rstrip("_").upper()),
            access_mode=body.access_mode,
            minimum="" if body.minimum is None else str(body.minimum),
            maximum="" if body.maximum is None else str(body.maximum),
            unit=body.unit,
        )


class DeviceModelSpec(Resource):
    """Body of a DeviceModel."""

    protocol: str = ""
    properties: list[ModelProperty] = Field(default_factory=list)


class DeviceModel(Resource):
    """A kind of device."""

    api_version: Literal["devices.kubeedge.io/v1alpha2"]
    kind: Literal["DeviceModel"]
    metadata: resources.Metadata
    spec: DeviceModelSpec = DeviceModelSpec()

    def upgraded(self) -> resources.DeviceModel:
        """As v1beta1."""
        spec = resources.DeviceModelSpec(
            protocol=self.spec.protocol,
            properties=[prop.upgraded() for prop in self.spec.properties],
        )
        return resources.DeviceModel(metadata=self.metadata, spec=spec)
