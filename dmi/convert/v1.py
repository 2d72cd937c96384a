"""Messages of `dmi.v1` to and from what the rest of the code works with.

Nothing outside the `dmi.convert_…` modules looks inside protobuf messages of readings,
devices and wishes. Batches of readings have `dmi.convert.batch`.
"""

from dmi.convert.resource_json import device_json, model_json, resource_from_json
from dmi.errors import ConfigError, ConversionError
from dmi.proto.v1 import api_pb2 as pb
from dmi.readings import Value
from dmi.reports import STATES, Desired, DeviceState, Outcome, OutcomeStatus, Registration
from dmi.resources import Device, DeviceModel, Key

__all__ = [
    "desired_from_v1",
    "desired_to_v1",
    "device_from_v1",
    "device_to_v1",
    "key_from_v1",
    "key_to_v1",
    "microseconds",
    "model_from_v1",
    "model_to_v1",
    "outcome_from_v1",
    "outcome_to_v1",
    "registration_from_v1",
    "registration_to_v1",
    "seconds",
    "state_from_v1",
    "state_to_v1",
    "value_from_v1",
    "value_to_v1",
]

_MICRO = 1_000_000


def microseconds(time: float) -> int:
    """Seconds since 1970-01-01 UTC as the messages carry them."""
    return round(time * _MICRO)


def seconds(time_us: int) -> float:
    """Microseconds since 1970-01-01 UTC as everything else carries them."""
    return time_us / _MICRO


# ------------------------------------------------------------------ parts ----


def key_to_v1(key: Key) -> pb.Key:
    """Identity of an object."""
    return pb.Key(namespace=key.namespace, name=key.name)


def key_from_v1(message: pb.Key) -> Key:
    """Identity of an object.

    Raises:
        ConfigError: A part of it is empty, or all of it is missing.
    """
    if not message.namespace or not message.name:
        raise ConfigError(
            f"namespace and name are needed, got '{message.namespace}/{message.name}'"
        )
    return Key(message.namespace, message.name)


def value_to_v1(value: Value) -> pb.Value:
    """A typed value.

    Raises:
        ConversionError: An integer beyond 64 bits, or text that is not valid Unicode.
    """
    try:
        match value:
            case bool():
                return pb.Value(bool=value)
            case int():
                return pb.Value(int=value)
            case float():
                return pb.Value(double=value)
            case str():
                return pb.Value(text=value)
    except ValueError as error:
        raise ConversionError(f"cannot be sent: {error}") from error
    return pb.Value(bytes=value)


def value_from_v1(message: pb.Value) -> Value | None:
    """A typed value; None when none is set, or one of a kind that is not known yet."""
    kind = message.WhichOneof("kind")
    if kind is None:
        return None
    value: Value = getattr(message, kind)
    return value


# ---------------------------------------------------------------- devices ----


def device_to_v1(device: Device) -> pb.DevicePut:
    """A device without desired values: those travel typed, as `DesiredPut`."""
    return pb.DevicePut(key=key_to_v1(device.key), json=device_json(device))


def device_from_v1(message: pb.DevicePut) -> Device:
    """A device, and the key that it was sent under.

    Raises:
        ConfigError: It is not a Device, or one of another key.
    """
    key = key_from_v1(message.key)
    device = resource_from_json(Device, message.json, f"device {key}")
    if device.key != key:
        raise ConfigError(f"device {device.key} was sent as {key}")
    return device


def model_to_v1(model: DeviceModel) -> pb.ModelPut:
    """A model."""
    return pb.ModelPut(key=key_to_v1(model.key), json=model_json(model))


def model_from_v1(message: pb.ModelPut) -> DeviceModel:
    """A model, and the key that it was sent under.

    Raises:
        ConfigError: It is not a DeviceModel, or one of another key.
    """
    key = key_from_v1(message.key)
    model = resource_from_json(DeviceModel, message.json, f"model {key}")
    if model.key != key:
        raise ConfigError(f"model {model.key} was sent as {key}")
    return model


# --------------------------------------------------------- wishes, states ----


def desired_to_v1(desired: Desired) -> pb.DesiredPut:
    """A wish, or its withdrawal.

    Raises:
        ConversionError: The value cannot travel.
    """
    return pb.DesiredPut(
        device=key_to_v1(desired.device),
        property=desired.property,
        value=None if desired.value is None else value_to_v1(desired.value),
        version=desired.version,
        settled=desired.settled,
    )


def desired_from_v1(message: pb.DesiredPut) -> Desired:
    """A wish, or its withdrawal.

    Raises:
        ConfigError: Device or property is missing.
    """
    return Desired(
        device=key_from_v1(message.device),
        property=_property(message.property),
        value=value_from_v1(message.value),
        version=message.version,
        settled=message.settled,
    )


def outcome_to_v1(outcome: Outcome) -> pb.DesiredOutcome:
    """What became of a wish."""
    return pb.DesiredOutcome(
        device=key_to_v1(outcome.device),
        property=outcome.property,
        version=outcome.version,
        status=outcome.status.name,
        reason=outcome.reason,
        message=outcome.message,
        time_us=microseconds(outcome.time),
    )


def outcome_from_v1(message: pb.DesiredOutcome) -> Outcome:
    """What became of a wish.

    Raises:
        ConfigError: Device or property is missing, or the status is not known here.
    """
    device = key_from_v1(message.device)
    try:
        status = OutcomeStatus(message.status)
    except ValueError as error:
        raise ConfigError(
            f"outcome status {message.status} is not known", device=str(device)
        ) from error
    return Outcome(
        device=device,
        property=_property(message.property),
        version=message.version,
        status=status,
        time=seconds(message.time_us),
        reason=message.reason,
        message=message.message,
    )


def state_to_v1(state: DeviceState) -> pb.DeviceState:
    """Whether a device answers."""
    return pb.DeviceState(
        device=key_to_v1(state.device),
        state=state.state,
        reason=state.reason,
        message=state.message,
        since_us=microseconds(state.since),
    )


def state_from_v1(message: pb.DeviceState) -> DeviceState:
    """Whether a device answers.

    Raises:
        ConfigError: The device is missing, or the state is not one of KubeEdge's words.
    """
    device = key_from_v1(message.device)
    if message.state not in STATES:
        raise ConfigError(
            f"state {message.state!r} is not one of {', '.join(STATES)}",
            device=str(device),
        )
    return DeviceState(
        device=device,
        state=message.state,
        since=seconds(message.since_us),
        reason=message.reason,
        message=message.message,
    )


def _property(name: str) -> str:
    if not name:
        raise ConfigError("the name of the property is missing")
    return name


# ---------------------------------------------------------------- mappers ----


def registration_to_v1(registration: Registration) -> pb.Registration:
    """Who a mapper is.

    Raises:
        ConfigError: An ability is not one of the contract's.
    """
    try:
        return pb.Registration(
            name=registration.name,
            protocol=registration.protocol,
            instance=registration.instance,
            version=registration.version,
            abilities=[word.upper() for word in registration.abilities],
            link_schema=registration.link_schema,
            visit_schema=registration.visit_schema,
        )
    except ValueError as error:
        raise ConfigError(f"cannot register {registration.name}: {error}") from error


def registration_from_v1(message: pb.Registration) -> Registration:
    """Who a mapper is; abilities that are not known yet are left out.

    Raises:
        ConfigError: Name or protocol is missing.
    """
    if not message.name or not message.protocol:
        raise ConfigError("a registration needs the mapper's name and its protocol")
    known = pb.Ability.values()
    return Registration(
        name=message.name,
        protocol=message.protocol,
        instance=message.instance,
        version=message.version,
        abilities=tuple(
            pb.Ability.Name(number).lower()
            for number in message.abilities
            if number in known and number != pb.ABILITY_UNSPECIFIED
        ),
        link_schema=message.link_schema,
        visit_schema=message.visit_schema,
    )
