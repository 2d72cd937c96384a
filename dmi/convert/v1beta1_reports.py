"""Twins, states and registrations to and from v1beta1 messages.

Values are text here. Towards a manager both halves of a twin are always set, and so is
everything of a registration: EdgeCore crashes on a missing part. From a mapper a missing
part is refused with words, so that its author learns before EdgeCore does it.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dmi.convert.v1beta1 import key_from_v1beta1
from dmi.errors import ConfigError, ConversionError
from dmi.proto.v1beta1 import api_pb2 as pb
from dmi.readings import Reading
from dmi.reports import DeviceState, Registration
from dmi.resources import DataType, Key
from dmi.unix_socket import MAX_PATH_BYTES
from dmi.values import format_value, parse_value

__all__ = [
    "ReportedTwin",
    "reading_from_twin",
    "registration_from_v1beta1",
    "registration_to_v1beta1",
    "state_from_v1beta1",
    "state_to_v1beta1",
    "text_twin_to_v1beta1",
    "twin_to_v1beta1",
    "twins_from_v1beta1",
    "twins_to_v1beta1",
]

API_VERSION = "v1beta1"

# "ok" is KubeEdge's other word for online; "disconnected" is the Go SDK's for offline, which
# EdgeCore itself ignores.
_STATES: Mapping[str, str] = MappingProxyType(
    {
        "online": "online",
        "ok": "online",
        "offline": "offline",
        "disconnected": "offline",
        "unhealthy": "unhealthy",
        "unknown": "unknown",
    }
)
# Milliseconds since 1970 have 13 digits until the year 2286.
_TIMESTAMP_DIGITS = 13


# ------------------------------------------------------------ to managers ----


def text_twin_to_v1beta1(
    name: str, reported: str, desired: str = "", metadata: Mapping[str, str] | None = None
) -> pb.Twin:
    """A twin from text, both halves set; `metadata` goes to the reported one."""
    return pb.Twin(
        propertyName=name,
        observedDesired=pb.TwinProperty(value=desired),
        reported=pb.TwinProperty(value=reported, metadata=metadata),
    )


def twin_to_v1beta1(name: str, data_type: DataType, reading: Reading, desired: str = "") -> pb.Twin:
    """A twin from a reading, with the model's type and the time in milliseconds.

    Raises:
        ConversionError: There is no value, or text cannot carry it.
    """
    if reading.value is None:
        raise ConversionError(f"property {name} has no value to report: {reading.reason}")
    metadata = {"type": data_type.lower(), "timestamp": str(round(reading.time * 1000))}
    return text_twin_to_v1beta1(name, format_value(reading.value, data_type), desired, metadata)


def twins_to_v1beta1(device: Key, twins: Iterable[pb.Twin]) -> pb.ReportDeviceStatusRequest:
    """A report of at least one twin of a device.

    Raises:
        ConversionError: There is no twin; EdgeCore refuses such a report.
    """
    message = pb.ReportDeviceStatusRequest(deviceName=device.name, deviceNamespace=device.namespace)
    message.reportedDevice.twins.extend(twins)
    if not message.reportedDevice.twins:
        raise ConversionError("a report needs at least one twin", device=str(device))
    return message


def state_to_v1beta1(state: DeviceState) -> pb.ReportDeviceStatesRequest:
    """A device's state; reason, message and time have no place in this version."""
    return pb.ReportDeviceStatesRequest(
        deviceName=state.device.name, deviceNamespace=state.device.namespace, state=state.state
    )


def registration_to_v1beta1(registration: Registration) -> pb.MapperRegisterRequest:
    """A registration that asks for all devices: without that EdgeCore never calls back.

    Raises:
        ConfigError: Name, protocol or address is missing.
    """
    _require_complete(registration)
    return pb.MapperRegisterRequest(
        withData=True,
        mapper=pb.MapperInfo(
            name=registration.name,
            version=registration.version,
            api_version=API_VERSION,
            protocol=registration.protocol,
            address=os.fsencode(registration.address),
            state="ok",
        ),
    )


# ----------------------------------------------------------- from mappers ----


@dataclass(frozen=True, slots=True)
class ReportedTwin:
    """Both halves of a twin as a mapper sent them.

    Attributes:
        desired: What the mapper holds as desired; empty for nothing.
        time: In seconds since 1970-01-01 UTC; None where the mapper sent none, as Go does.
    """

    property: str
    reported: str
    desired: str
    time: float | None


def twins_from_v1beta1(request: pb.ReportDeviceStatusRequest) -> tuple[Key, list[ReportedTwin]]:
    """Read a report of twins.

    Raises:
        ConfigError: A part is missing; the message says which.
    """
    key = key_from_v1beta1(request.deviceNamespace, request.deviceName)
    if not request.reportedDevice.twins:
        raise ConfigError("the report has no twin", device=str(key))
    return key, [_read_twin(key, twin) for twin in request.reportedDevice.twins]


def _read_twin(key: Key, twin: pb.Twin) -> ReportedTwin:
    if not twin.propertyName:
        raise ConfigError("a twin has no propertyName", device=str(key))
    for half in ("reported", "observedDesired"):
        if not twin.HasField(half):
            raise ConfigError(
                f"twin {twin.propertyName} has no {half}; set it, also when it is empty:"
                " EdgeCore crashes without",
                device=str(key),
            )
    return ReportedTwin(
        property=twin.propertyName,
        reported=twin.reported.value,
        desired=twin.observedDesired.value,
        time=_read_time(twin.reported.metadata.get("timestamp", "")),
    )


def _read_time(text: str) -> float | None:
    if text.isascii() and text.isdecimal() and len(text) == _TIMESTAMP_DIGITS:
        return int(text) / 1000
    return None


def reading_from_twin(twin: ReportedTwin, data_type: DataType, now: float) -> Reading:
    """A typed reading from a reported twin; `now` stands in for a missing time.

    Raises:
        ConversionError: The text does not fit the declared type.
    """
    return Reading(
        value=parse_value(twin.reported, data_type), time=now if twin.time is None else twin.time
    )


def state_from_v1beta1(request: pb.ReportDeviceStatesRequest, now: float) -> DeviceState:
    """Read a device's state; "ok" is online and "disconnected" offline, in any case.

    Raises:
        ConfigError: The name is missing, or the state is not a word that KubeEdge knows.
    """
    key = key_from_v1beta1(request.deviceNamespace, request.deviceName)
    state = _STATES.get(request.state.lower())
    if state is None:
        raise ConfigError(
            f"state {request.state!r} is not one of {', '.join(_STATES)}", device=str(key)
        )
    return DeviceState(device=key, state=state, since=now)


def registration_from_v1beta1(request: pb.MapperRegisterRequest) -> Registration:
    """Read who a mapper is and where it listens.

    Raises:
        ConfigError: A part is missing, or the address is not an absolute path.
    """
    if not request.HasField("mapper"):
        raise ConfigError("mapper is missing; EdgeCore crashes without")
    mapper = request.mapper
    try:
        address = mapper.address.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"mapper.address is not UTF-8: {error}") from error
    registration = Registration(
        name=mapper.name, protocol=mapper.protocol, version=mapper.version, address=address
    )
    _require_complete(registration)
    return registration


def _require_complete(registration: Registration) -> None:
    for part in ("name", "protocol", "address"):
        if not getattr(registration, part):
            raise ConfigError(f"mapper.{part} is missing")
    if not registration.address.startswith("/"):
        raise ConfigError(
            f"mapper.address {registration.address!r} must be an absolute path without a scheme"
        )
    if len(os.fsencode(registration.address)) > MAX_PATH_BYTES or "\0" in registration.address:
        raise ConfigError(
            f"mapper.address cannot be a Unix socket: at most {MAX_PATH_BYTES} bytes, none of"
            " them zero"
        )
