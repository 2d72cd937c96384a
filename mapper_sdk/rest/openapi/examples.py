"""Examples in the OpenAPI document."""

from typing import Any, Final

NAMES: Final = {
    "namespace": "default",
    "name": "kettle",
    "prop": "setpoint",
    "method": "boil",
    "data": "80",
}
"""What may stand in a path."""

READING: Final[dict[str, Any]] = {
    "value": 60.0,
    "time": "2026-11-21T09:30:00.000Z",
    "quality": "good",
    "reason": "",
}
PROPERTY: Final[dict[str, Any]] = {
    "namespace": "default",
    "device": "kettle",
    "property": "setpoint",
    **READING,
    "message": "",
    "type": "DOUBLE",
    "unit": "°C",
    "writable": True,
    "derived": False,
    "age_s": 0.412,
}
DEVICE: Final[dict[str, Any]] = {
    "namespace": "default",
    "name": "kettle",
    "state": "online",
    "reason": "",
    "message": "",
    "since": "2026-11-21T09:00:00.000Z",
    "model": "kettle",
    "labels": {"site": "hall-1"},
    "problems": {},
}
PROBLEM: Final[dict[str, Any]] = {
    "type": "about:blank",
    "title": "Unprocessable Entity",
    "status": 422,
    "detail": "180.0 is above the maximum 100.0",
    "reason": "out_of_range",
}
UNAVAILABLE: Final[dict[str, Any]] = {
    "type": "about:blank",
    "title": "Service Unavailable",
    "status": 503,
    "detail": "default/kettle: offline: nobody there",
    "reason": "unavailable",
    "device": "default/kettle",
}
METHOD: Final[dict[str, Any]] = {
    "name": "boil",
    "description": "Heats up to 100 °C.",
    "source": "declared",
    "arguments": {"setpoint": {"type": "number", "maximum": 100}},
}
TARGET: Final[dict[str, Any]] = {
    "name": "broker",
    "kind": "mqtt",
    "address": "mqtt://127.0.0.1:1883",
    "condition": "storing",
    "since": "2026-11-21T09:00:00.000Z",
    "delivered": 120000,
    "retried": 0,
    "lost": {},
    "queued": 0,
    "spooled": 3600,
    "spooledBytes": 180000,
    "hoursLeft": 71.5,
    "error": "connection refused",
    "reason": "unavailable",
}
GAP: Final[dict[str, Any]] = {
    "target": "broker",
    "namespace": "default",
    "device": "kettle",
    "property": "temperature",
    "first": "2026-11-20T09:00:00.000Z",
    "last": "2026-11-20T09:59:59.000Z",
    "count": 3600,
    "reason": "spool_full",
    "noted": "2026-11-21T09:00:00.000Z",
}
AUDIT: Final[dict[str, Any]] = {
    "id": 7,
    "time": "2026-11-21T09:30:00.000Z",
    "client": "dashboard",
    "action": "write",
    "namespace": "default",
    "device": "kettle",
    "target": "setpoint",
    "given": "80.0",
    "result": "ok",
    "message": "",
}
KUBEEDGE: Final[dict[str, Any]] = {
    "apiVersion": "v1",
    "statusCode": 200,
    "timeStamp": "2026-11-21T09:30:00Z",
}
CSV: Final = "time,value,quality,reason\r\n2026-11-21T09:30:00.000Z,60.0,good,\r\n"
JSON_LINES: Final = (
    '{"value":60.0,"time":"2026-11-21T09:30:00.000Z","quality":"good","reason":""}\n'
)
EVENTS: Final = (
    "id: 5f2c9a-18\nevent: readings\n"
    'data: {"namespace":"default","device":"kettle","readings":[{"property":"setpoint",'
    '"value":60.0,"time":"2026-11-21T09:30:00.000Z","quality":"good","reason":""}]}\n\n'
)
METRICS: Final = "dmi_mapper_reported_readings_total 120000.0\n"
