"""VictoriaMetrics: takes what is written by InfluxDB's v2 API, and gives it back."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, ClassVar

import aiohttp

from tests.servers.process import ServerProcess


class Victoria(ServerProcess):
    """A single node that keeps one sample for each series and millisecond."""

    binary: ClassVar[str] = "victoria-metrics"

    def command(self) -> list[str]:
        return [
            self.program,
            f"-storageDataPath={self.folder / 'data'}",
            f"-httpListenAddr=127.0.0.1:{self.port}",
            "-dedup.minScrapeInterval=1ms",
            "-retentionPeriod=100y",
            "-search.maxStalenessInterval=1s",
            "-memory.allowedBytes=64MB",
        ]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def kill(self) -> None:
        """End in good order: it acknowledges samples before they are on its disk."""
        await asyncio.to_thread(self.shut_down)

    async def samples(self, name: str, **labels: str) -> dict[float, float]:
        """Give what a series holds, value by time in seconds; nothing where there is none."""
        match = ",".join(f"{key}={json.dumps(text)}" for key, text in labels.items())
        selector = f"{{__name__={json.dumps(name)},{match}}}"
        found: dict[float, float] = {}
        for series in await self.export(selector):
            moments = [moment / 1000 for moment in series["timestamps"]]
            assert len(set(moments)) == len(moments), series
            found.update(zip(moments, map(float, series["values"]), strict=True))
        return found

    async def export(self, selector: str) -> Sequence[dict[str, Any]]:
        """Give the series that a selector finds, as `/api/v1/export` does."""
        async with aiohttp.ClientSession(self.url) as session:
            async with session.get("/internal/force_flush") as answer:
                await answer.read()
            async with session.get("/api/v1/export", params={"match[]": selector}) as answer:
                text = await answer.text()
                assert answer.status == 200, text
            return [json.loads(line) for line in text.splitlines()]
