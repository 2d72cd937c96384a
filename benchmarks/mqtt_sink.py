"""Readings through the MQTT sink with QoS 1, beside bare paho with the same window and payload."""

import asyncio
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from benchmarks.broker import run_broker
from benchmarks.measured import Measured, progress
from benchmarks.processes import scratch_folder
from dmi.readings import Reading
from dmi.resources import DataType, Key
from mapper_sdk.delivery.sink import Item, Route, Source
from mapper_sdk.sinks.mqtt.settings import MqttPlace, MqttTarget
from mapper_sdk.sinks.mqtt.sink import MqttSink
from mapper_sdk.sinks.payloads import reading_json

__all__ = ["TARGET", "measure"]

TARGET: Final = (
    "at least 0.7 x bare paho with the same window; 10,000 readings a second under 60 % of a core"
)

_LEAST_RATIO: Final = 0.7
_MOST_CORE: Final = 60.0  # percent
_RATE: Final = 10_000
_DEVICES: Final = 100
_TICK: Final = 0.1
_PATIENCE: Final = 120.0
_IN_FLIGHT: Final = 20  # paho's own window, and the sink's


async def measure(*, quick: bool) -> Measured:
    """Both in turns, so that whatever disturbs the machine disturbs both; then at a set pace."""
    rounds, count, seconds = (1, 500, 0.3) if quick else (7, 20_000, 10.0)
    items = _readings(count)
    async with scratch_folder() as folder, run_broker(folder) as port:
        sink = MqttSink(MqttTarget(address=f"127.0.0.1:{port}"))
        await sink.open()
        ours: list[tuple[float, float]] = []
        bare: list[tuple[float, float]] = []
        for turn in range(rounds):
            progress(f"mqtt_sink: round {turn + 1} of {rounds}")
            ours.append(await _through_sink(sink, items))
            bare.append(await asyncio.to_thread(_through_paho, port, items))
        progress(f"mqtt_sink: {_RATE} a second")
        paced = await _paced(sink, seconds)
        await sink.close()
    rate, cpu = _medians(ours, count)
    bare_rate, bare_cpu = _medians(bare, count)
    ratio = statistics.median(b / o for (o, _), (b, _) in zip(ours, bare, strict=True))
    figures = {
        "readings_per_s": rate,
        "cpu_us_per_reading": cpu,
        "ratio": round(ratio, 2),
        "cpu_ratio": round(bare_cpu / cpu, 2),
        **paced,
    }
    met = ratio >= _LEAST_RATIO and paced["paced_core_percent"] <= _MOST_CORE
    bare_figures = {"readings_per_s": bare_rate, "cpu_us_per_reading": bare_cpu}
    return Measured(figures, met, bare_figures)


def _readings(count: int) -> list[Item[MqttPlace]]:
    """Readings of some devices, ten properties each, a tenth of a second apart."""
    place = MqttPlace()
    routes = [
        Route(
            Source(
                Key("default", f"device-{n // 10}"), f"property-{n % 10}", DataType.DOUBLE, "°C"
            ),
            place,
        )
        for n in range(_DEVICES * 10)
    ]
    return [
        (routes[n % len(routes)], Reading(n / 7, 1_790_000_000.0 + n / _RATE)) for n in range(count)
    ]


async def _through_sink(sink: MqttSink, items: Sequence[Item[MqttPlace]]) -> tuple[float, float]:
    """Wall and CPU seconds for all, in the sink's own batches, each acknowledged."""
    begin, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(items), sink.batch):
        failed = await sink.send(items[start : start + sink.batch])
        assert not failed, failed
    return time.perf_counter() - begin, time.process_time() - cpu


def _through_paho(port: int, items: Sequence[Item[MqttPlace]]) -> tuple[float, float]:
    """Wall and CPU seconds of paho alone, in the same version; all messages are made before."""
    messages = [
        (
            f"dmi/data/default/{r.source.device.name}/{r.source.property}",
            reading_json(r.source, one),
        )
        for r, one in items
    ]
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.max_inflight_messages_set(_IN_FLIGHT)
    connected, done = threading.Event(), threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.on_publish = _counter(len(messages), done)
    client.connect("127.0.0.1", port)
    client.loop_start()
    assert connected.wait(_PATIENCE)
    begin, cpu = time.perf_counter(), time.process_time()
    for topic, payload in messages:
        client.publish(topic, payload, 1)
    assert done.wait(_PATIENCE)
    taken = time.perf_counter() - begin, time.process_time() - cpu
    client.disconnect()
    client.loop_stop()
    return taken


def _counter(count: int, done: threading.Event) -> Callable[..., None]:
    left = count

    def acknowledged(*_: object) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    return acknowledged


async def _paced(sink: MqttSink, seconds: float) -> dict[str, float | int]:
    """What a steady stream costs: the share of a core, and whether the sink keeps up."""
    items = _readings(int(_RATE * _TICK))
    begin, cpu = time.perf_counter(), time.process_time()
    lost = late = 0
    for tick in range(1, round(seconds / _TICK) + 1):
        lost += len(await sink.send(items))
        ahead = begin + tick * _TICK - time.perf_counter()
        late += ahead < 0
        await asyncio.sleep(max(0.0, ahead))
    sent = len(items) * round(seconds / _TICK)
    return {
        "paced_readings_per_s": round(sent / (time.perf_counter() - begin)),
        # For each reading, so that it is right also where the machine was too busy for the rate.
        "paced_core_percent": round((time.process_time() - cpu) / sent * _RATE * 100, 1),
        "paced_late_batches": late,
        "lost": lost,
    }


def _medians(rounds: Sequence[tuple[float, float]], count: int) -> tuple[int, float]:
    """Readings per second, and microseconds of CPU for each."""
    wall = statistics.median(taken for taken, _ in rounds)
    cpu = statistics.median(taken for _, taken in rounds)
    return round(count / wall), round(cpu / count * 1e6, 1)
