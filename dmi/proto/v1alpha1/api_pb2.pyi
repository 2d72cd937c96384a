from google.protobuf import any_pb2 as _any_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MapperRegisterRequest(_message.Message):
    __slots__ = ("withData", "mapper")
    WITHDATA_FIELD_NUMBER: _ClassVar[int]
    MAPPER_FIELD_NUMBER: _ClassVar[int]
    withData: bool
    mapper: MapperInfo
    def __init__(self, withData: _Optional[bool] = ..., mapper: _Optional[_Union[MapperInfo, _Mapping]] = ...) -> None: ...

class MapperRegisterResponse(_message.Message):
    __slots__ = ("modelList", "deviceList")
    MODELLIST_FIELD_NUMBER: _ClassVar[int]
    DEVICELIST_FIELD_NUMBER: _ClassVar[int]
    modelList: _containers.RepeatedCompositeFieldContainer[DeviceModel]
    deviceList: _containers.RepeatedCompositeFieldContainer[Device]
    def __init__(self, modelList: _Optional[_Iterable[_Union[DeviceModel, _Mapping]]] = ..., deviceList: _Optional[_Iterable[_Union[Device, _Mapping]]] = ...) -> None: ...

class DeviceModel(_message.Message):
    __slots__ = ("name", "spec")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    name: str
    spec: DeviceModelSpec
    def __init__(self, name: _Optional[str] = ..., spec: _Optional[_Union[DeviceModelSpec, _Mapping]] = ...) -> None: ...

class DeviceModelSpec(_message.Message):
    __slots__ = ("properties", "commands", "protocol")
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    properties: _containers.RepeatedCompositeFieldContainer[DeviceProperty]
    commands: _containers.RepeatedCompositeFieldContainer[DeviceCommand]
    protocol: str
    def __init__(self, properties: _Optional[_Iterable[_Union[DeviceProperty, _Mapping]]] = ..., commands: _Optional[_Iterable[_Union[DeviceCommand, _Mapping]]] = ..., protocol: _Optional[str] = ...) -> None: ...

class DeviceProperty(_message.Message):
    __slots__ = ("name", "description", "type")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    type: PropertyType
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., type: _Optional[_Union[PropertyType, _Mapping]] = ...) -> None: ...

class PropertyType(_message.Message):
    __slots__ = ("int", "string", "double", "float", "boolean", "bytes")
    INT_FIELD_NUMBER: _ClassVar[int]
    STRING_FIELD_NUMBER: _ClassVar[int]
    DOUBLE_FIELD_NUMBER: _ClassVar[int]
    FLOAT_FIELD_NUMBER: _ClassVar[int]
    BOOLEAN_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    int: PropertyTypeInt64
    string: PropertyTypeString
    double: PropertyTypeDouble
    float: PropertyTypeFloat
    boolean: PropertyTypeBoolean
    bytes: PropertyTypeBytes
    def __init__(self, int: _Optional[_Union[PropertyTypeInt64, _Mapping]] = ..., string: _Optional[_Union[PropertyTypeString, _Mapping]] = ..., double: _Optional[_Union[PropertyTypeDouble, _Mapping]] = ..., float: _Optional[_Union[PropertyTypeFloat, _Mapping]] = ..., boolean: _Optional[_Union[PropertyTypeBoolean, _Mapping]] = ..., bytes: _Optional[_Union[PropertyTypeBytes, _Mapping]] = ...) -> None: ...

class PropertyTypeInt64(_message.Message):
    __slots__ = ("accessMode", "defaultValue", "minimum", "maximum", "unit")
    ACCESSMODE_FIELD_NUMBER: _ClassVar[int]
    DEFAULTVALUE_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    accessMode: str
    defaultValue: int
    minimum: int
    maximum: int
    unit: str
    def __init__(self, accessMode: _Optional[str] = ..., defaultValue: _Optional[int] = ..., minimum: _Optional[int] = ..., maximum: _Optional[int] = ..., unit: _Optional[str] = ...) -> None: ...

class PropertyTypeString(_message.Message):
    __slots__ = ("accessMode", "defaultValue")
    ACCESSMODE_FIELD_NUMBER: _ClassVar[int]
    DEFAULTVALUE_FIELD_NUMBER: _ClassVar[int]
    accessMode: str
    defaultValue: str
    def __init__(self, accessMode: _Optional[str] = ..., defaultValue: _Optional[str] = ...) -> None: ...

class PropertyTypeDouble(_message.Message):
    __slots__ = ("accessMode", "defaultValue", "minimum", "maximum", "unit")
    ACCESSMODE_FIELD_NUMBER: _ClassVar[int]
    DEFAULTVALUE_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    accessMode: str
    defaultValue: float
    minimum: float
    maximum: float
    unit: str
    def __init__(self, accessMode: _Optional[str] = ..., defaultValue: _Optional[float] = ..., minimum: _Optional[float] = ..., maximum: _Optional[float] = ..., unit: _Optional[str] = ...) -> None: ...

class PropertyTypeFloat(_message.Message):
    __slots__ = ("accessMode", "defaultValue", "minimum", "maximum", "unit")
    ACCESSMODE_FIELD_NUMBER: _ClassVar[int]
    DEFAULTVALUE_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    accessMode: str
    defaultValue: float
    minimum: float
    maximum: float
    unit: str
    def __init__(self, accessMode: _Optional[str] = ..., defaultValue: _Optional[float] = ..., minimum: _Optional[float] = ..., maximum: _Optional[float] = ..., unit: _Optional[str] = ...) -> None: ...

class PropertyTypeBoolean(_message.Message):
    __slots__ = ("accessMode", "defaultValue")
    ACCESSMODE_FIELD_NUMBER: _ClassVar[int]
    DEFAULTVALUE_FIELD_NUMBER: _ClassVar[int]
    accessMode: str
    defaultValue: bool
    def __init__(self, accessMode: _Optional[str] = ..., defaultValue: _Optional[bool] = ...) -> None: ...

class PropertyTypeBytes(_message.Message):
    __slots__ = ("accessMode",)
    ACCESSMODE_FIELD_NUMBER: _ClassVar[int]
    accessMode: str
    def __init__(self, accessMode: _Optional[str] = ...) -> None: ...

class DeviceCommand(_message.Message):
    __slots__ = ("name", "url", "method", "status_code", "parameters", "response")
    NAME_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    STATUS_CODE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    name: str
    url: str
    method: str
    status_code: _containers.RepeatedScalarFieldContainer[str]
    parameters: _containers.RepeatedScalarFieldContainer[str]
    response: bytes
    def __init__(self, name: _Optional[str] = ..., url: _Optional[str] = ..., method: _Optional[str] = ..., status_code: _Optional[_Iterable[str]] = ..., parameters: _Optional[_Iterable[str]] = ..., response: _Optional[bytes] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ("name", "spec", "status")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    name: str
    spec: DeviceSpec
    status: DeviceStatus
    def __init__(self, name: _Optional[str] = ..., spec: _Optional[_Union[DeviceSpec, _Mapping]] = ..., status: _Optional[_Union[DeviceStatus, _Mapping]] = ...) -> None: ...

class DeviceSpec(_message.Message):
    __slots__ = ("deviceModelReference", "protocol", "propertyVisitors")
    DEVICEMODELREFERENCE_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    PROPERTYVISITORS_FIELD_NUMBER: _ClassVar[int]
    deviceModelReference: str
    protocol: ProtocolConfig
    propertyVisitors: _containers.RepeatedCompositeFieldContainer[DevicePropertyVisitor]
    def __init__(self, deviceModelReference: _Optional[str] = ..., protocol: _Optional[_Union[ProtocolConfig, _Mapping]] = ..., propertyVisitors: _Optional[_Iterable[_Union[DevicePropertyVisitor, _Mapping]]] = ...) -> None: ...

class ProtocolConfig(_message.Message):
    __slots__ = ("opcua", "modbus", "bluetooth", "common", "customizedProtocol")
    OPCUA_FIELD_NUMBER: _ClassVar[int]
    MODBUS_FIELD_NUMBER: _ClassVar[int]
    BLUETOOTH_FIELD_NUMBER: _ClassVar[int]
    COMMON_FIELD_NUMBER: _ClassVar[int]
    CUSTOMIZEDPROTOCOL_FIELD_NUMBER: _ClassVar[int]
    opcua: ProtocolConfigOpcUA
    modbus: ProtocolConfigModbus
    bluetooth: ProtocolConfigBluetooth
    common: ProtocolConfigCommon
    customizedProtocol: ProtocolConfigCustomized
    def __init__(self, opcua: _Optional[_Union[ProtocolConfigOpcUA, _Mapping]] = ..., modbus: _Optional[_Union[ProtocolConfigModbus, _Mapping]] = ..., bluetooth: _Optional[_Union[ProtocolConfigBluetooth, _Mapping]] = ..., common: _Optional[_Union[ProtocolConfigCommon, _Mapping]] = ..., customizedProtocol: _Optional[_Union[ProtocolConfigCustomized, _Mapping]] = ...) -> None: ...

class ProtocolConfigOpcUA(_message.Message):
    __slots__ = ("url", "userName", "password", "securityPolicy", "securityMode", "certificate", "privateKey", "timeout")
    URL_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    SECURITYPOLICY_FIELD_NUMBER: _ClassVar[int]
    SECURITYMODE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    PRIVATEKEY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    url: str
    userName: str
    password: str
    securityPolicy: str
    securityMode: str
    certificate: str
    privateKey: str
    timeout: int
    def __init__(self, url: _Optional[str] = ..., userName: _Optional[str] = ..., password: _Optional[str] = ..., securityPolicy: _Optional[str] = ..., securityMode: _Optional[str] = ..., certificate: _Optional[str] = ..., privateKey: _Optional[str] = ..., timeout: _Optional[int] = ...) -> None: ...

class ProtocolConfigModbus(_message.Message):
    __slots__ = ("slaveID",)
    SLAVEID_FIELD_NUMBER: _ClassVar[int]
    slaveID: int
    def __init__(self, slaveID: _Optional[int] = ...) -> None: ...

class ProtocolConfigBluetooth(_message.Message):
    __slots__ = ("macAddress",)
    MACADDRESS_FIELD_NUMBER: _ClassVar[int]
    macAddress: str
    def __init__(self, macAddress: _Optional[str] = ...) -> None: ...

class ProtocolConfigCommon(_message.Message):
    __slots__ = ("com", "tcp", "commType", "reconnTimeout", "reconnRetryTimes", "collectTimeout", "collectRetryTimes", "collectType", "customizedValues")
    COM_FIELD_NUMBER: _ClassVar[int]
    TCP_FIELD_NUMBER: _ClassVar[int]
    COMMTYPE_FIELD_NUMBER: _ClassVar[int]
    RECONNTIMEOUT_FIELD_NUMBER: _ClassVar[int]
    RECONNRETRYTIMES_FIELD_NUMBER: _ClassVar[int]
    COLLECTTIMEOUT_FIELD_NUMBER: _ClassVar[int]
    COLLECTRETRYTIMES_FIELD_NUMBER: _ClassVar[int]
    COLLECTTYPE_FIELD_NUMBER: _ClassVar[int]
    CUSTOMIZEDVALUES_FIELD_NUMBER: _ClassVar[int]
    com: ProtocolConfigCOM
    tcp: ProtocolConfigTCP
    commType: str
    reconnTimeout: int
    reconnRetryTimes: int
    collectTimeout: int
    collectRetryTimes: int
    collectType: str
    customizedValues: CustomizedValue
    def __init__(self, com: _Optional[_Union[ProtocolConfigCOM, _Mapping]] = ..., tcp: _Optional[_Union[ProtocolConfigTCP, _Mapping]] = ..., commType: _Optional[str] = ..., reconnTimeout: _Optional[int] = ..., reconnRetryTimes: _Optional[int] = ..., collectTimeout: _Optional[int] = ..., collectRetryTimes: _Optional[int] = ..., collectType: _Optional[str] = ..., customizedValues: _Optional[_Union[CustomizedValue, _Mapping]] = ...) -> None: ...

class ProtocolConfigCOM(_message.Message):
    __slots__ = ("serialPort", "baudRate", "dataBits", "parity", "stopBits")
    SERIALPORT_FIELD_NUMBER: _ClassVar[int]
    BAUDRATE_FIELD_NUMBER: _ClassVar[int]
    DATABITS_FIELD_NUMBER: _ClassVar[int]
    PARITY_FIELD_NUMBER: _ClassVar[int]
    STOPBITS_FIELD_NUMBER: _ClassVar[int]
    serialPort: str
    baudRate: int
    dataBits: int
    parity: str
    stopBits: int
    def __init__(self, serialPort: _Optional[str] = ..., baudRate: _Optional[int] = ..., dataBits: _Optional[int] = ..., parity: _Optional[str] = ..., stopBits: _Optional[int] = ...) -> None: ...

class ProtocolConfigTCP(_message.Message):
    __slots__ = ("ip", "port")
    IP_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    ip: str
    port: int
    def __init__(self, ip: _Optional[str] = ..., port: _Optional[int] = ...) -> None: ...

class CustomizedValue(_message.Message):
    __slots__ = ("data",)
    class DataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _any_pb2.Any
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_any_pb2.Any, _Mapping]] = ...) -> None: ...
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: _containers.MessageMap[str, _any_pb2.Any]
    def __init__(self, data: _Optional[_Mapping[str, _any_pb2.Any]] = ...) -> None: ...

class ProtocolConfigCustomized(_message.Message):
    __slots__ = ("protocolName", "configData")
    PROTOCOLNAME_FIELD_NUMBER: _ClassVar[int]
    CONFIGDATA_FIELD_NUMBER: _ClassVar[int]
    protocolName: str
    configData: CustomizedValue
    def __init__(self, protocolName: _Optional[str] = ..., configData: _Optional[_Union[CustomizedValue, _Mapping]] = ...) -> None: ...

class DevicePropertyVisitor(_message.Message):
    __slots__ = ("propertyName", "reportCycle", "collectCycle", "customizedValues", "opcua", "modbus", "bluetooth", "customizedProtocol")
    PROPERTYNAME_FIELD_NUMBER: _ClassVar[int]
    REPORTCYCLE_FIELD_NUMBER: _ClassVar[int]
    COLLECTCYCLE_FIELD_NUMBER: _ClassVar[int]
    CUSTOMIZEDVALUES_FIELD_NUMBER: _ClassVar[int]
    OPCUA_FIELD_NUMBER: _ClassVar[int]
    MODBUS_FIELD_NUMBER: _ClassVar[int]
    BLUETOOTH_FIELD_NUMBER: _ClassVar[int]
    CUSTOMIZEDPROTOCOL_FIELD_NUMBER: _ClassVar[int]
    propertyName: str
    reportCycle: int
    collectCycle: int
    customizedValues: CustomizedValue
    opcua: VisitorConfigOPCUA
    modbus: VisitorConfigModbus
    bluetooth: VisitorConfigBluetooth
    customizedProtocol: VisitorConfigCustomized
    def __init__(self, propertyName: _Optional[str] = ..., reportCycle: _Optional[int] = ..., collectCycle: _Optional[int] = ..., customizedValues: _Optional[_Union[CustomizedValue, _Mapping]] = ..., opcua: _Optional[_Union[VisitorConfigOPCUA, _Mapping]] = ..., modbus: _Optional[_Union[VisitorConfigModbus, _Mapping]] = ..., bluetooth: _Optional[_Union[VisitorConfigBluetooth, _Mapping]] = ..., customizedProtocol: _Optional[_Union[VisitorConfigCustomized, _Mapping]] = ...) -> None: ...

class VisitorConfigOPCUA(_message.Message):
    __slots__ = ("nodeID", "browseName")
    NODEID_FIELD_NUMBER: _ClassVar[int]
    BROWSENAME_FIELD_NUMBER: _ClassVar[int]
    nodeID: str
    browseName: str
    def __init__(self, nodeID: _Optional[str] = ..., browseName: _Optional[str] = ...) -> None: ...

class VisitorConfigModbus(_message.Message):
    __slots__ = ("register", "offset", "limit", "scale", "isSwap", "isRegisterSwap")
    REGISTER_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    ISSWAP_FIELD_NUMBER: _ClassVar[int]
    ISREGISTERSWAP_FIELD_NUMBER: _ClassVar[int]
    register: str
    offset: int
    limit: int
    scale: float
    isSwap: bool
    isRegisterSwap: bool
    def __init__(self, register: _Optional[str] = ..., offset: _Optional[int] = ..., limit: _Optional[int] = ..., scale: _Optional[float] = ..., isSwap: _Optional[bool] = ..., isRegisterSwap: _Optional[bool] = ...) -> None: ...

class VisitorConfigBluetooth(_message.Message):
    __slots__ = ("characteristicUUID", "dataWrite", "dataConverter")
    class DataWriteEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    CHARACTERISTICUUID_FIELD_NUMBER: _ClassVar[int]
    DATAWRITE_FIELD_NUMBER: _ClassVar[int]
    DATACONVERTER_FIELD_NUMBER: _ClassVar[int]
    characteristicUUID: str
    dataWrite: _containers.ScalarMap[str, bytes]
    dataConverter: BluetoothReadConverter
    def __init__(self, characteristicUUID: _Optional[str] = ..., dataWrite: _Optional[_Mapping[str, bytes]] = ..., dataConverter: _Optional[_Union[BluetoothReadConverter, _Mapping]] = ...) -> None: ...

class BluetoothReadConverter(_message.Message):
    __slots__ = ("startIndex", "endIndex", "shiftLeft", "shiftRight", "orderOfOperations")
    STARTINDEX_FIELD_NUMBER: _ClassVar[int]
    ENDINDEX_FIELD_NUMBER: _ClassVar[int]
    SHIFTLEFT_FIELD_NUMBER: _ClassVar[int]
    SHIFTRIGHT_FIELD_NUMBER: _ClassVar[int]
    ORDEROFOPERATIONS_FIELD_NUMBER: _ClassVar[int]
    startIndex: int
    endIndex: int
    shiftLeft: int
    shiftRight: int
    orderOfOperations: _containers.RepeatedCompositeFieldContainer[BluetoothOperations]
    def __init__(self, startIndex: _Optional[int] = ..., endIndex: _Optional[int] = ..., shiftLeft: _Optional[int] = ..., shiftRight: _Optional[int] = ..., orderOfOperations: _Optional[_Iterable[_Union[BluetoothOperations, _Mapping]]] = ...) -> None: ...

class BluetoothOperations(_message.Message):
    __slots__ = ("operationType", "operationValue")
    OPERATIONTYPE_FIELD_NUMBER: _ClassVar[int]
    OPERATIONVALUE_FIELD_NUMBER: _ClassVar[int]
    operationType: str
    operationValue: float
    def __init__(self, operationType: _Optional[str] = ..., operationValue: _Optional[float] = ...) -> None: ...

class VisitorConfigCustomized(_message.Message):
    __slots__ = ("protocolName", "configData")
    PROTOCOLNAME_FIELD_NUMBER: _ClassVar[int]
    CONFIGDATA_FIELD_NUMBER: _ClassVar[int]
    protocolName: str
    configData: CustomizedValue
    def __init__(self, protocolName: _Optional[str] = ..., configData: _Optional[_Union[CustomizedValue, _Mapping]] = ...) -> None: ...

class MapperInfo(_message.Message):
    __slots__ = ("name", "version", "api_version", "protocol", "address", "state")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    API_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    api_version: str
    protocol: str
    address: bytes
    state: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., api_version: _Optional[str] = ..., protocol: _Optional[str] = ..., address: _Optional[bytes] = ..., state: _Optional[str] = ...) -> None: ...

class ReportDeviceStatusRequest(_message.Message):
    __slots__ = ("deviceName", "reportedDevice")
    DEVICENAME_FIELD_NUMBER: _ClassVar[int]
    REPORTEDDEVICE_FIELD_NUMBER: _ClassVar[int]
    deviceName: str
    reportedDevice: DeviceStatus
    def __init__(self, deviceName: _Optional[str] = ..., reportedDevice: _Optional[_Union[DeviceStatus, _Mapping]] = ...) -> None: ...

class DeviceStatus(_message.Message):
    __slots__ = ("twins", "state")
    TWINS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    twins: _containers.RepeatedCompositeFieldContainer[Twin]
    state: str
    def __init__(self, twins: _Optional[_Iterable[_Union[Twin, _Mapping]]] = ..., state: _Optional[str] = ...) -> None: ...

class Twin(_message.Message):
    __slots__ = ("propertyName", "desired", "reported")
    PROPERTYNAME_FIELD_NUMBER: _ClassVar[int]
    DESIRED_FIELD_NUMBER: _ClassVar[int]
    REPORTED_FIELD_NUMBER: _ClassVar[int]
    propertyName: str
    desired: TwinProperty
    reported: TwinProperty
    def __init__(self, propertyName: _Optional[str] = ..., desired: _Optional[_Union[TwinProperty, _Mapping]] = ..., reported: _Optional[_Union[TwinProperty, _Mapping]] = ...) -> None: ...

class TwinProperty(_message.Message):
    __slots__ = ("value", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VALUE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    value: str
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, value: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ReportDeviceStatusResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RegisterDeviceRequest(_message.Message):
    __slots__ = ("device",)
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    device: Device
    def __init__(self, device: _Optional[_Union[Device, _Mapping]] = ...) -> None: ...

class RegisterDeviceResponse(_message.Message):
    __slots__ = ("deviceName",)
    DEVICENAME_FIELD_NUMBER: _ClassVar[int]
    deviceName: str
    def __init__(self, deviceName: _Optional[str] = ...) -> None: ...

class CreateDeviceModelRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: DeviceModel
    def __init__(self, model: _Optional[_Union[DeviceModel, _Mapping]] = ...) -> None: ...

class CreateDeviceModelResponse(_message.Message):
    __slots__ = ("deviceModelName",)
    DEVICEMODELNAME_FIELD_NUMBER: _ClassVar[int]
    deviceModelName: str
    def __init__(self, deviceModelName: _Optional[str] = ...) -> None: ...

class RemoveDeviceRequest(_message.Message):
    __slots__ = ("deviceName",)
    DEVICENAME_FIELD_NUMBER: _ClassVar[int]
    deviceName: str
    def __init__(self, deviceName: _Optional[str] = ...) -> None: ...

class RemoveDeviceResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RemoveDeviceModelRequest(_message.Message):
    __slots__ = ("modelName",)
    MODELNAME_FIELD_NUMBER: _ClassVar[int]
    modelName: str
    def __init__(self, modelName: _Optional[str] = ...) -> None: ...

class RemoveDeviceModelResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UpdateDeviceRequest(_message.Message):
    __slots__ = ("device",)
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    device: Device
    def __init__(self, device: _Optional[_Union[Device, _Mapping]] = ...) -> None: ...

class UpdateDeviceResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UpdateDeviceModelRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: DeviceModel
    def __init__(self, model: _Optional[_Union[DeviceModel, _Mapping]] = ...) -> None: ...

class UpdateDeviceModelResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UpdateDeviceStatusRequest(_message.Message):
    __slots__ = ("deviceName", "desiredDevice")
    DEVICENAME_FIELD_NUMBER: _ClassVar[int]
    DESIREDDEVICE_FIELD_NUMBER: _ClassVar[int]
    deviceName: str
    desiredDevice: DeviceStatus
    def __init__(self, deviceName: _Optional[str] = ..., desiredDevice: _Optional[_Union[DeviceStatus, _Mapping]] = ...) -> None: ...

class UpdateDeviceStatusResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetDeviceRequest(_message.Message):
    __slots__ = ("deviceName",)
    DEVICENAME_FIELD_NUMBER: _ClassVar[int]
    deviceName: str
    def __init__(self, deviceName: _Optional[str] = ...) -> None: ...

class GetDeviceResponse(_message.Message):
    __slots__ = ("device",)
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    device: Device
    def __init__(self, device: _Optional[_Union[Device, _Mapping]] = ...) -> None: ...
