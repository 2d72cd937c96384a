"""What the demo sees of the node: the manager's and the mapper's REST, asked by polling."""

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from dmi.errors import UnavailableError

__all__ = ["POLL_SECONDS", "Node", "Snapshot", "Twin"]

Twin = dict[str, Any]
POLL_SECONDS = 0.1


@dataclass
class Snapshot:
    """One look: twins by "device/property", and each device's status."""

    twins: dict[str, Twin] = field(default_factory=dict)
    devices: dict[str, dict[str, Any]] = field(default_factory=dict)

    def is_live(self, since: str = "") -> bool:
        """Whether all devices are online, all twins good, and each device read after `since`.

        A property that is reported on change may be silent, so its device's newest counts.
        """
        reported = [twin["reported"] for twin in self.twins.values()]
        return (
            bool(reported)
            and all(side is not None and side["quality"] == "good" for side in reported)
            and all(status.get("state") == "online" for status in self.devices.values())
            and all(time > since for time in self.newest().values())
        )

    def newest(self) -> dict[str, str]:
        """Time of each device's newest reading, RFC 3339; empty text where there is none."""
        newest: dict[str, str] = {}
        for twin in self.twins.values():
            time = twin["reported"]["time"] if twin["reported"] else ""
            newest[twin["device"]] = max(newest.get(twin["device"], ""), time)
        return newest


class Node:
    """The manager's and the mappers' REST, wherever they are now; a dead one is just not there.

    Attributes:
        manager_url: Of the manager; empty before it has started.
        mapper_urls: Of the mappers, by protocol.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.manager_url = ""
        self.mapper_urls: dict[str, str] = {}
        self.latest = Snapshot()

    async def look(self) -> Snapshot:
        """Ask the manager for everything.

        Raises:
            UnavailableError: It does not answer.
        """
        twins = await self._get("/api/v1/twins?limit=1000")
        devices = await self._get("/api/v1/devices")
        self.latest = Snapshot(
            {f"{t['device']}/{t['property']}": t for t in twins["items"]},
            {d["metadata"]["name"]: d.get("status", {}) for d in devices["items"]},
        )
        return self.latest

    async def watch(self) -> None:
        """Look now and then until cancelled, also while nobody asks."""
        while True:
            if self.manager_url:
                with contextlib.suppress(UnavailableError):
                    await self.look()
            await asyncio.sleep(POLL_SECONDS)

    async def until(self, what: str, held: Callable[[Snapshot], bool], seconds: float) -> Snapshot:
        """Look until something holds.

        Raises:
            UnavailableError: It did not within `seconds`.
        """
        try:
            async with asyncio.timeout(seconds):
                while True:
                    with contextlib.suppress(UnavailableError):
                        if held(snapshot := await self.look()):
                            return snapshot
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise UnavailableError(f"{what}: not within {seconds:.0f} s") from None

    async def wish(self, device: str, prop: str, value: float, *, wait: float = 0) -> Twin:
        """Set a desired value through the manager; with `wait`, until it is settled."""
        path = f"/api/v1/devices/default/{device}/twins/{prop}/desired"
        twin: Twin = await self._send(
            "PUT", f"{self.manager_url}{path}?wait={wait}", {"value": value}
        )
        return twin

    async def read_live(self, protocol: str, device: str, prop: str) -> Any:  # noqa: ANN401 - JSON
        """Read one property from the device itself, through its mapper."""
        path = f"/api/v1/devices/default/{device}/properties/{prop}?live=true"
        return await self._send("GET", self.mapper_urls[protocol] + path)

    async def mapper_counts(self) -> dict[str, float]:
        """The mappers' counters, from their Prometheus metrics, summed over mappers and labels."""
        counts: dict[str, float] = {}
        for url in self.mapper_urls.values():
            text = await self._text(f"{url}/metrics")
            for name, value in re.findall(r"^(\w+)(?:\{[^}]*\})? (\S+)$", text, re.MULTILINE):
                counts[name] = counts.get(name, 0.0) + float(value)
        return counts

    async def _get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        return await self._send("GET", self.manager_url + path)

    async def _send(self, verb: str, url: str, body: Any = None) -> Any:  # noqa: ANN401 - JSON
        try:
            answer = await self._http.request(verb, url, json=body, timeout=12)
        except httpx.HTTPError as error:
            raise UnavailableError(f"{verb} {url}: {error!r}") from error
        if answer.status_code >= httpx.codes.BAD_REQUEST:
            raise UnavailableError(f"{verb} {url}: {answer.status_code} {answer.text}")
        return answer.json()

    async def _text(self, url: str) -> str:
        try:
            return (await self._http.get(url, timeout=5)).text
        except httpx.HTTPError as error:
            raise UnavailableError(f"GET {url}: {error!r}") from error
