"""Device, DeviceModel and DeviceStatus, as CRD `devices.kubeedge.io/v1beta1` has them.

The models are read leniently (a newer cluster may send more) and never mutated;
`dmi.manifests` reads files strictly and words every mistake with its YAML path.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

__all__ = [
    "AccessMode",
    "DataType",
    "Device",
    "DeviceMethod",
    "DeviceModel",
    "DeviceModelSpec",
    "DeviceProperty",
    "DeviceSpec",
    "DeviceStatus",
    "DeviceStatusBody",
    "Key",
    "Metadata",
    "Milliseconds",
    "ModelProperty",
    "ProtocolConfig",
    "PushMethod",
    "Resource",
    "StateReport",
    "Twin",
    "TwinProperty",
    "Visitors",
    "merge_defaults",
]

API_VERSION: Literal["devices.kubeedge.io/v1beta1"] = "devices.kubeedge.io/v1beta1"

Milliseconds = Annotated[int, Field(ge=0, strict=True)]
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
Name = Annotated[str, Field(min_length=1, max_length=253, pattern=rf"^{_LABEL}(\.{_LABEL})*$")]
Namespace = Annotated[str, Field(min_length=1, max_length=63, pattern=rf"^{_LABEL}$")]
PropertyName = Annotated[str, Field(min_length=1, max_length=128)]
ConfigData = dict[str, Any]


class Key(NamedTuple):
    """Identity of a namespaced object."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class DataType(StrEnum):
    """Type of a property, as the DeviceModel spells it."""

    INT = "INT"
    FLOAT = "FLOAT"
    DOUBLE = "DOUBLE"
    STRING = "STRING"
    BOOLEAN = "BOOLEAN"
    BYTES = "BYTES"
    STREAM = "STREAM"


class AccessMode(StrEnum):
    """Whether apps may write a property."""

    READ_WRITE = "ReadWrite"
    READ_ONLY = "ReadOnly"


class Resource(BaseModel):
    """Part of a Kubernetes object: read leniently, never mutated."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True
    )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types with Kubernetes' own field names, without what was never set."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class Metadata(Resource):
    """The part of ObjectMeta that matters here."""

    name: Name
    namespace: Namespace = "default"
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Visitors(Resource):
    """How one property is reached; configData is the protocol's own."""

    protocol_name: str = ""
    config_data: ConfigData = {}


class ProtocolConfig(Visitors):
    """How the device is reached; configData is the protocol's own."""


class ModelProperty(Resource):
    """A property that devices of a model may have."""

    name: PropertyName
    description: str = ""
    type: DataType = DataType.STRING
    access_mode: AccessMode = AccessMode.READ_ONLY
    minimum: str = ""
    maximum: str = ""
    unit: str = ""
    visitors: Visitors | None = None


class DeviceModelSpec(Resource):
    """Body of a DeviceModel."""

    protocol: str = ""
    properties: list[ModelProperty] = []
    protocol_config_data: ConfigData = {}


class TwinProperty(Resource):
    """One side of a twin, always text in Kubernetes."""

    value: str
    metadata: dict[str, str] = {}


class PushHttp(Resource):
    """POST target."""

    host_name: str = ""
    port: int = 0
    request_path: str = ""
    timeout: int = 0


class PushMqtt(Resource):
    """Publish target."""

    address: str = ""
    topic: str = ""
    qos: Annotated[int, Field(ge=0, le=2)] = 0
    retained: bool = False


class PushOtel(Resource):
    """OTLP over HTTP target."""

    endpoint_url: str = Field(default="", alias="endpointURL")


class Influxdb2ClientConfig(Resource):
    """Where an InfluxDB 2 server is."""

    url: str = ""
    org: str = ""
    bucket: str = ""


class Influxdb2DataConfig(Resource):
    """How points are named."""

    measurement: str = ""
    tag: dict[str, str] = {}
    field_key: str = ""


class DbInfluxdb2(Resource):
    """InfluxDB 2 target."""

    influxdb2_client_config: Influxdb2ClientConfig = Influxdb2ClientConfig()
    influxdb2_data_config: Influxdb2DataConfig = Influxdb2DataConfig()


class RedisClientConfig(Resource):
    """Where a Redis server is."""

    addr: str = ""
    db: int = 0
    poolsize: int = 0
    min_idle_conns: int = 0


class DbRedis(Resource):
    """Redis target."""

    redis_client_config: RedisClientConfig = RedisClientConfig()


class TDEngineClientConfig(Resource):
    """Where a TDengine REST adapter is."""

    addr: str = ""
    db_name: str = ""


class DbTDEngine(Resource):
    """TDengine target."""

    client_config: TDEngineClientConfig = Field(
        default=TDEngineClientConfig(), alias="TDEngineClientConfig"
    )


class MySQLClientConfig(Resource):
    """Where a MySQL server is; the password comes from the mapper's secrets."""

    addr: str = ""
    database: str = ""
    user_name: str = ""


class DbMySQL(Resource):
    """MySQL target."""

    mysql_client_config: MySQLClientConfig = MySQLClientConfig()


class DbMethod(Resource):
    """Database targets; several may be set together."""

    influxdb2: DbInfluxdb2 | None = None
    redis: DbRedis | None = None
    tdengine: DbTDEngine | None = Field(default=None, alias="TDEngine")
    mysql: DbMySQL | None = None


class PushMethod(Resource):
    """Direct targets of one property; several may be set together."""

    http: PushHttp | None = None
    mqtt: PushMqtt | None = None
    otel: PushOtel | None = None
    db_method: DbMethod | None = None
    anomaly_detection: ConfigData | None = None


class DeviceProperty(Resource):
    """One property as a Device uses it."""

    name: PropertyName
    desired: TwinProperty | None = None
    visitors: Visitors = Visitors()
    collect_cycle: Milliseconds = 1000
    report_cycle: Milliseconds = 1000
    report_to_cloud: bool = False
    push_method: PushMethod | None = None


class DeviceMethod(Resource):
    """A named write operation over some properties."""

    name: str
    description: str = ""
    property_names: list[str] = []


class StateReport(Resource):
    """Whether and how often the device's state is reported."""

    report_to_cloud: bool = False
    report_cycle: Milliseconds = 1000


class ModelReference(Resource):
    """Name of the model, in the device's own namespace."""

    name: str = ""


class DeviceSpec(Resource):
    """Body of a Device."""

    device_model_ref: ModelReference = ModelReference()
    node_name: str = ""
    protocol: ProtocolConfig = ProtocolConfig()
    properties: list[DeviceProperty] = []
    methods: list[DeviceMethod] = []
    state_report: StateReport | None = None


class _Object(Resource):
    """What every kind has."""

    api_version: Literal["devices.kubeedge.io/v1beta1"] = API_VERSION
    metadata: Metadata

    kind: str

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return Key(self.metadata.namespace, self.metadata.name)

    def to_json(self) -> dict[str, Any]:
        """The whole object as `kubectl` would print it, without what was never set."""
        return {"apiVersion": self.api_version, "kind": self.kind, **super().to_json()}


class DeviceModel(_Object):
    """A kind of device: the properties that its devices may have."""

    kind: Literal["DeviceModel"] = "DeviceModel"
    spec: DeviceModelSpec = DeviceModelSpec()


class Device(_Object):
    """One device, as somebody wants it to be served."""

    kind: Literal["Device"] = "Device"
    spec: DeviceSpec = DeviceSpec()
    status: dict[str, Any] = {}

    @property
    def model_key(self) -> Key:
        """The model's identity; models live in the device's own namespace."""
        return Key(self.metadata.namespace, self.spec.device_model_ref.name)

    @model_validator(mode="before")
    @classmethod
    def _state_report_of_old(cls, data: Any) -> Any:  # noqa: ANN401 - raw JSON
        """Before KubeEdge v1.23 `stateReport` lived in `status`."""
        match data:
            case {"spec": dict(spec), "status": dict(status)} if (
                "stateReport" not in spec and "reportToCloud" in status
            ):
                old = {k: status[k] for k in ("reportToCloud", "reportCycle") if k in status}
                return {**data, "spec": {**spec, "stateReport": old}}
        return data


class Twin(Resource):
    """A property's two sides, as DeviceStatus holds them."""

    property_name: str
    reported: TwinProperty | None = None
    observed_desired: TwinProperty | None = None


class DeviceStatusBody(Resource):
    """What is known of a device."""

    state: str = ""
    last_online_time: str = ""
    twins: list[Twin] = []
    extensions: dict[str, Any] = {}


class DeviceStatus(_Object):
    """What is known of the Device of the same name."""

    kind: Literal["DeviceStatus"] = "DeviceStatus"
    status: DeviceStatusBody = DeviceStatusBody()


def merge_defaults(device: Device, model: DeviceModel) -> Device:
    """Fill a device's configData with its model's defaults; the device's own keys win.

    Shallow, by key, as EdgeCore does it since v1.22. A model property's
    `visitors.protocolName` replaces the device's.
    """
    defaults = {p.name: p.visitors for p in model.spec.properties if p.visitors is not None}
    properties = [
        prop.model_copy(update={"visitors": _merge_visitors(defaults[prop.name], prop.visitors)})
        if prop.name in defaults
        else prop
        for prop in device.spec.properties
    ]
    protocol = device.spec.protocol
    base = model.spec.protocol_config_data
    if base:
        merged = {**base, **protocol.config_data}
        protocol = protocol.model_copy(update={"config_data": merged})
    spec = device.spec.model_copy(update={"properties": properties, "protocol": protocol})
    return device.model_copy(update={"spec": spec})


def _merge_visitors(base: Visitors, own: Visitors) -> Visitors:
    return Visitors(
        protocol_name=base.protocol_name or own.protocol_name,
        config_data={**base.config_data, **own.config_data},
    )
