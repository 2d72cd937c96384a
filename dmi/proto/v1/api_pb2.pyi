from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Quality(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GOOD: _ClassVar[Quality]
    UNCERTAIN: _ClassVar[Quality]
    BAD: _ClassVar[Quality]

class Ability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ABILITY_UNSPECIFIED: _ClassVar[Ability]
    READ: _ClassVar[Ability]
    WRITE: _ClassVar[Ability]
    SUBSCRIBE: _ClassVar[Ability]
    CALL: _ClassVar[Ability]
    DISCOVER: _ClassVar[Ability]
    UPGRADE: _ClassVar[Ability]
    EVENTS: _ClassVar[Ability]

class OutcomeStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PENDING: _ClassVar[OutcomeStatus]
    WRITTEN: _ClassVar[OutcomeStatus]
    CONFIRMED: _ClassVar[OutcomeStatus]
    REJECTED: _ClassVar[OutcomeStatus]
    FAILED: _ClassVar[OutcomeStatus]

class Phase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACCEPTED: _ClassVar[Phase]
    RUNNING: _ClassVar[Phase]
    SUCCEEDED: _ClassVar[Phase]
    UNSUCCESSFUL: _ClassVar[Phase]
    EXPIRED: _ClassVar[Phase]
    CANCELLED: _ClassVar[Phase]

class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INFO: _ClassVar[Severity]
    WARNING: _ClassVar[Severity]
    ALARM: _ClassVar[Severity]
    CLEARED: _ClassVar[Severity]
GOOD: Quality
UNCERTAIN: Quality
BAD: Quality
ABILITY_UNSPECIFIED: Ability
READ: Ability
WRITE: Ability
SUBSCRIBE: Ability
CALL: Ability
DISCOVER: Ability
UPGRADE: Ability
EVENTS: Ability
PENDING: OutcomeStatus
WRITTEN: OutcomeStatus
CONFIRMED: OutcomeStatus
REJECTED: OutcomeStatus
FAILED: OutcomeStatus
ACCEPTED: Phase
RUNNING: Phase
SUCCEEDED: Phase
UNSUCCESSFUL: Phase
EXPIRED: Phase
CANCELLED: Phase
INFO: Severity
WARNING: Severity
ALARM: Severity
CLEARED: Severity

class Key(_message.Message):
    __slots__ = ("namespace", "name")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    name: str
    def __init__(self, namespace: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("int", "double", "bool", "text", "bytes")
    INT_FIELD_NUMBER: _ClassVar[int]
    DOUBLE_FIELD_NUMBER: _ClassVar[int]
    BOOL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    int: int
    double: float
    bool: bool
    text: str
    bytes: bytes
    def __init__(self, int: _Optional[int] = ..., double: _Optional[float] = ..., bool: _Optional[bool] = ..., text: _Optional[str] = ..., bytes: _Optional[bytes] = ...) -> None: ...

class MapperBeat(_message.Message):
    __slots__ = ("registration", "gauges")
    class GaugesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    GAUGES_FIELD_NUMBER: _ClassVar[int]
    registration: Registration
    gauges: _containers.ScalarMap[str, float]
    def __init__(self, registration: _Optional[_Union[Registration, _Mapping]] = ..., gauges: _Optional[_Mapping[str, float]] = ...) -> None: ...

class Registration(_message.Message):
    __slots__ = ("name", "protocol", "instance", "version", "abilities", "link_schema", "visit_schema")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ABILITIES_FIELD_NUMBER: _ClassVar[int]
    LINK_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    VISIT_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    name: str
    protocol: str
    instance: str
    version: str
    abilities: _containers.RepeatedScalarFieldContainer[Ability]
    link_schema: str
    visit_schema: str
    def __init__(self, name: _Optional[str] = ..., protocol: _Optional[str] = ..., instance: _Optional[str] = ..., version: _Optional[str] = ..., abilities: _Optional[_Iterable[_Union[Ability, str]]] = ..., link_schema: _Optional[str] = ..., visit_schema: _Optional[str] = ...) -> None: ...

class MapperNotice(_message.Message):
    __slots__ = ("welcome", "beat", "goodbye")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    BEAT_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    beat: Beat
    goodbye: Goodbye
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., beat: _Optional[_Union[Beat, _Mapping]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("session", "lease_ms", "epoch")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    session: str
    lease_ms: int
    epoch: str
    def __init__(self, session: _Optional[str] = ..., lease_ms: _Optional[int] = ..., epoch: _Optional[str] = ...) -> None: ...

class Beat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Goodbye(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class ListMappersRequest(_message.Message):
    __slots__ = ("protocol",)
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    protocol: str
    def __init__(self, protocol: _Optional[str] = ...) -> None: ...

class ListMappersResponse(_message.Message):
    __slots__ = ("mappers",)
    MAPPERS_FIELD_NUMBER: _ClassVar[int]
    mappers: _containers.RepeatedCompositeFieldContainer[MapperStatus]
    def __init__(self, mappers: _Optional[_Iterable[_Union[MapperStatus, _Mapping]]] = ...) -> None: ...

class MapperStatus(_message.Message):
    __slots__ = ("registration", "alive", "last_seen_ms", "devices")
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    ALIVE_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_MS_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    registration: Registration
    alive: bool
    last_seen_ms: int
    devices: int
    def __init__(self, registration: _Optional[_Union[Registration, _Mapping]] = ..., alive: _Optional[bool] = ..., last_seen_ms: _Optional[int] = ..., devices: _Optional[int] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("session", "resume_version", "epoch")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    RESUME_VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    session: str
    resume_version: int
    epoch: str
    def __init__(self, session: _Optional[str] = ..., resume_version: _Optional[int] = ..., epoch: _Optional[str] = ...) -> None: ...

class WatchEvent(_message.Message):
    __slots__ = ("version", "relist", "model_put", "model_gone", "device_put", "device_gone", "desired_put", "synced")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RELIST_FIELD_NUMBER: _ClassVar[int]
    MODEL_PUT_FIELD_NUMBER: _ClassVar[int]
    MODEL_GONE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_PUT_FIELD_NUMBER: _ClassVar[int]
    DEVICE_GONE_FIELD_NUMBER: _ClassVar[int]
    DESIRED_PUT_FIELD_NUMBER: _ClassVar[int]
    SYNCED_FIELD_NUMBER: _ClassVar[int]
    version: int
    relist: Relist
    model_put: ModelPut
    model_gone: Key
    device_put: DevicePut
    device_gone: Key
    desired_put: DesiredPut
    synced: Synced
    def __init__(self, version: _Optional[int] = ..., relist: _Optional[_Union[Relist, _Mapping]] = ..., model_put: _Optional[_Union[ModelPut, _Mapping]] = ..., model_gone: _Optional[_Union[Key, _Mapping]] = ..., device_put: _Optional[_Union[DevicePut, _Mapping]] = ..., device_gone: _Optional[_Union[Key, _Mapping]] = ..., desired_put: _Optional[_Union[DesiredPut, _Mapping]] = ..., synced: _Optional[_Union[Synced, _Mapping]] = ...) -> None: ...

class Relist(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Synced(_message.Message):
    __slots__ = ("epoch",)
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    epoch: str
    def __init__(self, epoch: _Optional[str] = ...) -> None: ...

class ModelPut(_message.Message):
    __slots__ = ("key", "json")
    KEY_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    key: Key
    json: bytes
    def __init__(self, key: _Optional[_Union[Key, _Mapping]] = ..., json: _Optional[bytes] = ...) -> None: ...

class DevicePut(_message.Message):
    __slots__ = ("key", "json")
    KEY_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    key: Key
    json: bytes
    def __init__(self, key: _Optional[_Union[Key, _Mapping]] = ..., json: _Optional[bytes] = ...) -> None: ...

class DesiredPut(_message.Message):
    __slots__ = ("device", "property", "value", "version", "settled")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    PROPERTY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    device: Key
    property: str
    value: Value
    version: int
    settled: bool
    def __init__(self, device: _Optional[_Union[Key, _Mapping]] = ..., property: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ..., version: _Optional[int] = ..., settled: _Optional[bool] = ...) -> None: ...

class ProposeDevicesRequest(_message.Message):
    __slots__ = ("session", "devices", "models")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    session: str
    devices: _containers.RepeatedCompositeFieldContainer[DevicePut]
    models: _containers.RepeatedCompositeFieldContainer[ModelPut]
    def __init__(self, session: _Optional[str] = ..., devices: _Optional[_Iterable[_Union[DevicePut, _Mapping]]] = ..., models: _Optional[_Iterable[_Union[ModelPut, _Mapping]]] = ...) -> None: ...

class ProposeDevicesResponse(_message.Message):
    __slots__ = ("accepted",)
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    def __init__(self, accepted: _Optional[int] = ...) -> None: ...

class ReportBatch(_message.Message):
    __slots__ = ("opening", "sequence", "bindings", "ints", "doubles", "bools", "texts", "blobs", "faults", "states", "outcomes", "dropped")
    class DroppedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    OPENING_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    BINDINGS_FIELD_NUMBER: _ClassVar[int]
    INTS_FIELD_NUMBER: _ClassVar[int]
    DOUBLES_FIELD_NUMBER: _ClassVar[int]
    BOOLS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    BLOBS_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    opening: Opening
    sequence: int
    bindings: _containers.RepeatedCompositeFieldContainer[Binding]
    ints: IntColumn
    doubles: DoubleColumn
    bools: BoolColumn
    texts: TextColumn
    blobs: BytesColumn
    faults: FaultColumn
    states: _containers.RepeatedCompositeFieldContainer[DeviceState]
    outcomes: _containers.RepeatedCompositeFieldContainer[DesiredOutcome]
    dropped: _containers.ScalarMap[str, int]
    def __init__(self, opening: _Optional[_Union[Opening, _Mapping]] = ..., sequence: _Optional[int] = ..., bindings: _Optional[_Iterable[_Union[Binding, _Mapping]]] = ..., ints: _Optional[_Union[IntColumn, _Mapping]] = ..., doubles: _Optional[_Union[DoubleColumn, _Mapping]] = ..., bools: _Optional[_Union[BoolColumn, _Mapping]] = ..., texts: _Optional[_Union[TextColumn, _Mapping]] = ..., blobs: _Optional[_Union[BytesColumn, _Mapping]] = ..., faults: _Optional[_Union[FaultColumn, _Mapping]] = ..., states: _Optional[_Iterable[_Union[DeviceState, _Mapping]]] = ..., outcomes: _Optional[_Iterable[_Union[DesiredOutcome, _Mapping]]] = ..., dropped: _Optional[_Mapping[str, int]] = ...) -> None: ...

class Opening(_message.Message):
    __slots__ = ("session", "stream_id")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    session: str
    stream_id: str
    def __init__(self, session: _Optional[str] = ..., stream_id: _Optional[str] = ...) -> None: ...

class Binding(_message.Message):
    __slots__ = ("handle", "device", "property")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    PROPERTY_FIELD_NUMBER: _ClassVar[int]
    handle: int
    device: Key
    property: str
    def __init__(self, handle: _Optional[int] = ..., device: _Optional[_Union[Key, _Mapping]] = ..., property: _Optional[str] = ...) -> None: ...

class IntColumn(_message.Message):
    __slots__ = ("handle", "time_us", "value", "quality", "reason")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    handle: _containers.RepeatedScalarFieldContainer[int]
    time_us: _containers.RepeatedScalarFieldContainer[int]
    value: _containers.RepeatedScalarFieldContainer[int]
    quality: _containers.RepeatedScalarFieldContainer[Quality]
    reason: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, handle: _Optional[_Iterable[int]] = ..., time_us: _Optional[_Iterable[int]] = ..., value: _Optional[_Iterable[int]] = ..., quality: _Optional[_Iterable[_Union[Quality, str]]] = ..., reason: _Optional[_Iterable[str]] = ...) -> None: ...

class DoubleColumn(_message.Message):
    __slots__ = ("handle", "time_us", "value", "quality", "reason")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    handle: _containers.RepeatedScalarFieldContainer[int]
    time_us: _containers.RepeatedScalarFieldContainer[int]
    value: _containers.RepeatedScalarFieldContainer[float]
    quality: _containers.RepeatedScalarFieldContainer[Quality]
    reason: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, handle: _Optional[_Iterable[int]] = ..., time_us: _Optional[_Iterable[int]] = ..., value: _Optional[_Iterable[float]] = ..., quality: _Optional[_Iterable[_Union[Quality, str]]] = ..., reason: _Optional[_Iterable[str]] = ...) -> None: ...

class BoolColumn(_message.Message):
    __slots__ = ("handle", "time_us", "value", "quality", "reason")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    handle: _containers.RepeatedScalarFieldContainer[int]
    time_us: _containers.RepeatedScalarFieldContainer[int]
    value: _containers.RepeatedScalarFieldContainer[bool]
    quality: _containers.RepeatedScalarFieldContainer[Quality]
    reason: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, handle: _Optional[_Iterable[int]] = ..., time_us: _Optional[_Iterable[int]] = ..., value: _Optional[_Iterable[bool]] = ..., quality: _Optional[_Iterable[_Union[Quality, str]]] = ..., reason: _Optional[_Iterable[str]] = ...) -> None: ...

class TextColumn(_message.Message):
    __slots__ = ("handle", "time_us", "value", "quality", "reason")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    handle: _containers.RepeatedScalarFieldContainer[int]
    time_us: _containers.RepeatedScalarFieldContainer[int]
    value: _containers.RepeatedScalarFieldContainer[str]
    quality: _containers.RepeatedScalarFieldContainer[Quality]
    reason: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, handle: _Optional[_Iterable[int]] = ..., time_us: _Optional[_Iterable[int]] = ..., value: _Optional[_Iterable[str]] = ..., quality: _Optional[_Iterable[_Union[Quality, str]]] = ..., reason: _Optional[_Iterable[str]] = ...) -> None: ...

class BytesColumn(_message.Message):
    __slots__ = ("handle", "time_us", "value", "quality", "reason")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    handle: _containers.RepeatedScalarFieldContainer[int]
    time_us: _containers.RepeatedScalarFieldContainer[int]
    value: _containers.RepeatedScalarFieldContainer[bytes]
    quality: _containers.RepeatedScalarFieldContainer[Quality]
    reason: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, handle: _Optional[_Iterable[int]] = ..., time_us: _Optional[_Iterable[int]] = ..., value: _Optional[_Iterable[bytes]] = ..., quality: _Optional[_Iterable[_Union[Quality, str]]] = ..., reason: _Optional[_Iterable[str]] = ...) -> None: ...

class FaultColumn(_message.Message):
    __slots__ = ("handle", "time_us", "reason")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    handle: _containers.RepeatedScalarFieldContainer[int]
    time_us: _containers.RepeatedScalarFieldContainer[int]
    reason: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, handle: _Optional[_Iterable[int]] = ..., time_us: _Optional[_Iterable[int]] = ..., reason: _Optional[_Iterable[str]] = ...) -> None: ...

class DeviceState(_message.Message):
    __slots__ = ("device", "state", "reason", "message", "since_us")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SINCE_US_FIELD_NUMBER: _ClassVar[int]
    device: Key
    state: str
    reason: str
    message: str
    since_us: int
    def __init__(self, device: _Optional[_Union[Key, _Mapping]] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., since_us: _Optional[int] = ...) -> None: ...

class DesiredOutcome(_message.Message):
    __slots__ = ("device", "property", "version", "status", "reason", "message", "time_us")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    PROPERTY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    device: Key
    property: str
    version: int
    status: OutcomeStatus
    reason: str
    message: str
    time_us: int
    def __init__(self, device: _Optional[_Union[Key, _Mapping]] = ..., property: _Optional[str] = ..., version: _Optional[int] = ..., status: _Optional[_Union[OutcomeStatus, str]] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., time_us: _Optional[int] = ...) -> None: ...

class ReportAck(_message.Message):
    __slots__ = ("sequence", "refused")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    refused: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, sequence: _Optional[int] = ..., refused: _Optional[_Iterable[int]] = ...) -> None: ...

class GetTwinsRequest(_message.Message):
    __slots__ = ("devices",)
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    devices: _containers.RepeatedCompositeFieldContainer[Key]
    def __init__(self, devices: _Optional[_Iterable[_Union[Key, _Mapping]]] = ...) -> None: ...

class GetTwinsResponse(_message.Message):
    __slots__ = ("twins",)
    TWINS_FIELD_NUMBER: _ClassVar[int]
    twins: _containers.RepeatedCompositeFieldContainer[TwinValue]
    def __init__(self, twins: _Optional[_Iterable[_Union[TwinValue, _Mapping]]] = ...) -> None: ...

class TwinValue(_message.Message):
    __slots__ = ("device", "property", "reported", "time_us", "quality", "reason", "desired", "desired_version", "desired_status")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    PROPERTY_FIELD_NUMBER: _ClassVar[int]
    REPORTED_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DESIRED_FIELD_NUMBER: _ClassVar[int]
    DESIRED_VERSION_FIELD_NUMBER: _ClassVar[int]
    DESIRED_STATUS_FIELD_NUMBER: _ClassVar[int]
    device: Key
    property: str
    reported: Value
    time_us: int
    quality: Quality
    reason: str
    desired: Value
    desired_version: int
    desired_status: OutcomeStatus
    def __init__(self, device: _Optional[_Union[Key, _Mapping]] = ..., property: _Optional[str] = ..., reported: _Optional[_Union[Value, _Mapping]] = ..., time_us: _Optional[int] = ..., quality: _Optional[_Union[Quality, str]] = ..., reason: _Optional[str] = ..., desired: _Optional[_Union[Value, _Mapping]] = ..., desired_version: _Optional[int] = ..., desired_status: _Optional[_Union[OutcomeStatus, str]] = ...) -> None: ...

class Command(_message.Message):
    __slots__ = ("id", "device", "method", "arguments", "deadline_us", "cancel", "settled")
    class ArgumentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_US_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    id: str
    device: Key
    method: str
    arguments: _containers.MessageMap[str, Value]
    deadline_us: int
    cancel: bool
    settled: bool
    def __init__(self, id: _Optional[str] = ..., device: _Optional[_Union[Key, _Mapping]] = ..., method: _Optional[str] = ..., arguments: _Optional[_Mapping[str, Value]] = ..., deadline_us: _Optional[int] = ..., cancel: _Optional[bool] = ..., settled: _Optional[bool] = ...) -> None: ...

class CommandProgress(_message.Message):
    __slots__ = ("session", "id", "progress", "results", "process")
    class ResultsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    SESSION_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    session: str
    id: str
    progress: Progress
    results: _containers.MessageMap[str, Value]
    process: str
    def __init__(self, session: _Optional[str] = ..., id: _Optional[str] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., results: _Optional[_Mapping[str, Value]] = ..., process: _Optional[str] = ...) -> None: ...

class ReportMethodsRequest(_message.Message):
    __slots__ = ("session", "devices")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    session: str
    devices: _containers.RepeatedCompositeFieldContainer[DeviceMethods]
    def __init__(self, session: _Optional[str] = ..., devices: _Optional[_Iterable[_Union[DeviceMethods, _Mapping]]] = ...) -> None: ...

class DeviceMethods(_message.Message):
    __slots__ = ("device", "methods")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    METHODS_FIELD_NUMBER: _ClassVar[int]
    device: Key
    methods: _containers.RepeatedCompositeFieldContainer[Method]
    def __init__(self, device: _Optional[_Union[Key, _Mapping]] = ..., methods: _Optional[_Iterable[_Union[Method, _Mapping]]] = ...) -> None: ...

class Method(_message.Message):
    __slots__ = ("name", "description", "arguments", "results")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    arguments: str
    results: str
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., arguments: _Optional[str] = ..., results: _Optional[str] = ...) -> None: ...

class ReportMethodsResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Progress(_message.Message):
    __slots__ = ("phase", "percent", "reason", "message", "time_us")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    phase: Phase
    percent: int
    reason: str
    message: str
    time_us: int
    def __init__(self, phase: _Optional[_Union[Phase, str]] = ..., percent: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., time_us: _Optional[int] = ...) -> None: ...

class Upgrade(_message.Message):
    __slots__ = ("id", "device", "component", "target_version", "image_url", "image_sha256", "deadline_us", "cancel")
    ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    TARGET_VERSION_FIELD_NUMBER: _ClassVar[int]
    IMAGE_URL_FIELD_NUMBER: _ClassVar[int]
    IMAGE_SHA256_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_US_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    id: str
    device: Key
    component: str
    target_version: str
    image_url: str
    image_sha256: bytes
    deadline_us: int
    cancel: bool
    def __init__(self, id: _Optional[str] = ..., device: _Optional[_Union[Key, _Mapping]] = ..., component: _Optional[str] = ..., target_version: _Optional[str] = ..., image_url: _Optional[str] = ..., image_sha256: _Optional[bytes] = ..., deadline_us: _Optional[int] = ..., cancel: _Optional[bool] = ...) -> None: ...

class UpgradeProgress(_message.Message):
    __slots__ = ("session", "id", "progress", "version")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    session: str
    id: str
    progress: Progress
    version: str
    def __init__(self, session: _Optional[str] = ..., id: _Optional[str] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., version: _Optional[str] = ...) -> None: ...

class ReportUpgradableRequest(_message.Message):
    __slots__ = ("session", "items")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    session: str
    items: _containers.RepeatedCompositeFieldContainer[Upgradable]
    def __init__(self, session: _Optional[str] = ..., items: _Optional[_Iterable[_Union[Upgradable, _Mapping]]] = ...) -> None: ...

class Upgradable(_message.Message):
    __slots__ = ("device", "component", "version")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    device: Key
    component: str
    version: str
    def __init__(self, device: _Optional[_Union[Key, _Mapping]] = ..., component: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class ReportUpgradableResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class EventBatch(_message.Message):
    __slots__ = ("opening", "sequence", "events")
    OPENING_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    opening: Opening
    sequence: int
    events: _containers.RepeatedCompositeFieldContainer[DeviceEvent]
    def __init__(self, opening: _Optional[_Union[Opening, _Mapping]] = ..., sequence: _Optional[int] = ..., events: _Optional[_Iterable[_Union[DeviceEvent, _Mapping]]] = ...) -> None: ...

class DeviceEvent(_message.Message):
    __slots__ = ("id", "device", "type", "severity", "message", "time_us", "fields")
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    id: str
    device: Key
    type: str
    severity: Severity
    message: str
    time_us: int
    fields: _containers.MessageMap[str, Value]
    def __init__(self, id: _Optional[str] = ..., device: _Optional[_Union[Key, _Mapping]] = ..., type: _Optional[str] = ..., severity: _Optional[_Union[Severity, str]] = ..., message: _Optional[str] = ..., time_us: _Optional[int] = ..., fields: _Optional[_Mapping[str, Value]] = ...) -> None: ...

class EventAck(_message.Message):
    __slots__ = ("sequence",)
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    def __init__(self, sequence: _Optional[int] = ...) -> None: ...

class ListEventsRequest(_message.Message):
    __slots__ = ("device", "type", "from_us", "to_us", "limit", "page")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    FROM_US_FIELD_NUMBER: _ClassVar[int]
    TO_US_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    device: Key
    type: str
    from_us: int
    to_us: int
    limit: int
    page: str
    def __init__(self, device: _Optional[_Union[Key, _Mapping]] = ..., type: _Optional[str] = ..., from_us: _Optional[int] = ..., to_us: _Optional[int] = ..., limit: _Optional[int] = ..., page: _Optional[str] = ...) -> None: ...

class ListEventsResponse(_message.Message):
    __slots__ = ("events", "next_page")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[DeviceEvent]
    next_page: str
    def __init__(self, events: _Optional[_Iterable[_Union[DeviceEvent, _Mapping]]] = ..., next_page: _Optional[str] = ...) -> None: ...

class DeleteEventsRequest(_message.Message):
    __slots__ = ("device", "ids", "before_us")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    BEFORE_US_FIELD_NUMBER: _ClassVar[int]
    device: Key
    ids: _containers.RepeatedScalarFieldContainer[str]
    before_us: int
    def __init__(self, device: _Optional[_Union[Key, _Mapping]] = ..., ids: _Optional[_Iterable[str]] = ..., before_us: _Optional[int] = ...) -> None: ...

class DeleteEventsResponse(_message.Message):
    __slots__ = ("deleted",)
    DELETED_FIELD_NUMBER: _ClassVar[int]
    deleted: int
    def __init__(self, deleted: _Optional[int] = ...) -> None: ...
