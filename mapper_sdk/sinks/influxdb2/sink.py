"""InfluxDB 2, and what understands its write API: readings as lines over HTTP.

The client library carries the lines; it does not make them, because its Points cost eleven
times as much. A measurement is a model and a field is a property unless settings say
otherwise, so that each field has one type; readings of one device with one time that follow
each other become one line. InfluxDB keeps one value for each series, field and time: a batch
that is sent again changes nothing.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, cast

import aiohttp
from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException
from influxdb_client.service.ping_service import PingService

from dmi.errors import DmiError, RefusedError, UnavailableError
from dmi.resources import DbInfluxdb2, Resource
from dmi.secret_refs import read_header_secret
from mapper_sdk.delivery.sink import Item, Sink
from mapper_sdk.sinks.http_answers import failure
from mapper_sdk.sinks.influxdb2.answers import bad_lines, refusal
from mapper_sdk.sinks.influxdb2.lines import Lines
from mapper_sdk.sinks.influxdb2.settings import Influxdb2Place, Influxdb2Target
from mapper_sdk.sinks.tls import Tls, make_context

__all__ = ["Influxdb2Sink"]

_ROUNDS: Final = 16
_REQUEST: Final = 2500  # lines, at most
# Readings written while the loop stands still. A request needs the loop a dozen times until it
# is on its way; only then does the server read while the next lines are written.
_SLICE: Final = 25
_SLICES: Final = 20
_LATER_SLICE: Final = 500


class Influxdb2Sink(Sink[Influxdb2Target, Influxdb2Place]):
    """Writes to one bucket."""

    kind: ClassVar[str] = "influxdb2"
    target_model = Influxdb2Target
    place_model = Influxdb2Place
    batch: ClassVar[int] = 10_000  # several requests, for one is written while another is read

    def __init__(self, target: Influxdb2Target) -> None:
        super().__init__(target)
        self._client: InfluxDBClientAsync | None = None

    @classmethod
    def pushed(cls, declared: Resource) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read `dbMethod.influxdb2`. What it leaves open has this sink's own default."""
        if not isinstance(declared, DbInfluxdb2):
            return super().pushed(declared)
        client, data = declared.influxdb2_client_config, declared.influxdb2_data_config
        target = {"url": client.url, "org": client.org, "bucket": client.bucket}
        place: dict[str, Any] = {
            "tags": {key: _literal(tag) for key, tag in data.tag.items() if tag}
        }
        if data.measurement:
            place["measurement"] = _literal(data.measurement)
        if data.field_key:
            place["field"] = _literal(data.field_key)
        return target, place

    async def open(self) -> None:
        """See `Sink.open`. Whether the token is good shows at the first write."""
        target = self.target
        token = await asyncio.to_thread(read_header_secret, target.token) if target.token else ""
        context = await asyncio.to_thread(make_context, target.tls or Tls())
        self._client = InfluxDBClientAsync(
            url=target.url,
            token=token,
            org=target.org,
            timeout=round(target.timeout * 1000),
            enable_gzip=target.gzip,
            ssl_context=context,
            allow_redirects=False,  # the token goes to nobody else
        )
        try:
            # `ping` of the client itself hides why there is no answer.
            ping = PingService(self._client.api_client)  # type: ignore[no-untyped-call]
            await ping.get_ping_async()  # type: ignore[no-untyped-call]
        except ApiException as error:
            problem = refusal(error)
            # A server that has no `ping`, or keeps it to itself, may take lines all the same.
            if problem.retryable:
                await self.close()
                raise problem from error
        except (aiohttp.ClientError, OSError) as error:
            await self.close()
            raise failure(error) from error

    async def send(self, items: Sequence[Item[Influxdb2Place]]) -> Mapping[int, DmiError]:
        """See `Sink.send`. While the server reads some lines, the next ones are written."""
        refused: dict[int, DmiError] = {}
        problem: DmiError | None = None
        under_way: asyncio.Task[DmiError | None] | None = None
        async with asyncio.TaskGroup() as group:
            for start in range(0, len(items), _REQUEST):
                lines = Lines(self.target.precision, refused)
                first, end = start, min(start + _REQUEST, len(items))
                while first < end:
                    size = _SLICE if first < start + _SLICES * _SLICE else _LATER_SLICE
                    lines.add(items[first : min(first + size, end)], first)
                    first += size
                    await asyncio.sleep(0)
                if under_way is not None and (problem := await under_way) is not None:
                    break
                under_way = group.create_task(self._deliver(lines))
        if under_way is not None and (problem := problem or under_way.result()) is not None:
            raise problem
        return refused

    async def _deliver(self, lines: Lines) -> DmiError | None:
        """Write lines; those that the server names as wrong are left out and noted.

        Returns:
            What is wrong with all of them, if anything is.
        """
        for _ in range(_ROUNDS):
            if not lines.texts:
                return None
            try:
                await self._write(lines.texts)
            except ApiException as error:
                bad = bad_lines(error, lines.texts)
                if not bad:
                    return refusal(error)
                # What else the server did with this request differs between its versions.
                lines.refuse(bad)
            except UnavailableError as error:
                return error
            except (aiohttp.ClientError, OSError) as error:
                return failure(error)
            else:
                return None
        return RefusedError("InfluxDB refuses line after line")

    async def _write(self, lines: Sequence[str]) -> None:
        if self._client is None:
            raise UnavailableError("not open")
        target = self.target
        # Bytes pass through the client as they are.
        body, precision = "\n".join(lines).encode(), cast("WritePrecision", target.precision.value)
        await self._client.write_api().write(target.bucket, target.org, body, precision)

    async def close(self) -> None:
        """See `Sink.close`."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()  # type: ignore[no-untyped-call]


def _literal(text: str) -> str:
    """A name of KubeEdge's, which is no template."""
    return text.replace("{", "{{").replace("}", "}}")
