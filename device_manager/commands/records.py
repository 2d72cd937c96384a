"""What the manager keeps of each command, and how it reads as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from device_manager.views import time_text
from dmi.readings import Value
from dmi.reports import Command, Phase
from dmi.resources import Key
from dmi.values import json_value

__all__ = ["OUTCOME_UNKNOWN", "CommandRecord", "Json", "command_view"]

Json = dict[str, Any]

OUTCOME_UNKNOWN: Final = "outcome_unknown"
"""Reason of a command that may have run: its mapper ended before it had said."""


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """One call of a method. Times are seconds since 1970-01-01 UTC, 0 for never.

    Attributes:
        deadline: After it the command must not start.
        caller: Who asked for it, in words.
        key: Under which the caller may ask again; empty for none.
        mapper: Name and instance of who was given it; empty before.
        process: Of that mapper; empty before. It may have begun from then on.
        cancelling: Somebody has asked to take it back.
        started: When it began to run.
        updated: When it reached its present phase.
    """

    id: str
    device: Key
    method: str
    arguments: Mapping[str, Value]
    deadline: float
    created: float
    caller: str = ""
    key: str = ""
    mapper: str = ""
    process: str = ""
    cancelling: bool = False
    phase: Phase = Phase.ACCEPTED
    percent: int = 0
    reason: str = ""
    message: str = ""
    results: Mapping[str, Value] = field(default_factory=dict)
    started: float = 0.0
    updated: float = 0.0

    @property
    def order(self) -> Command:
        """As a mapper gets it."""
        return Command(
            self.id, self.device, self.method, self.arguments, self.deadline, self.cancelling
        )


def command_view(record: CommandRecord) -> Json:
    """A command as REST and the change feed give it; bytes are base64."""
    final = record.phase.is_final
    return {
        "id": record.id,
        "namespace": record.device.namespace,
        "device": record.device.name,
        "method": record.method,
        "arguments": {name: json_value(value) for name, value in record.arguments.items()},
        "phase": record.phase.name.lower(),
        "percent": record.percent,
        "reason": record.reason,
        "message": record.message,
        "results": {name: json_value(value) for name, value in record.results.items()},
        "caller": record.caller,
        "mapper": record.mapper,
        "cancelling": record.cancelling and not final,
        "created": time_text(record.created),
        "deadline": time_text(record.deadline),
        "started": time_text(record.started),
        "ended": time_text(record.updated) if final else None,
    }
