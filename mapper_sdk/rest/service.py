"""The mapper's REST API as a server, in the mapper's own event loop."""

import asyncio
import logging
from typing import Final

from dmi.feed import Feed
from dmi.rest.door import Door, DoorSettings
from dmi.rest.guard import Demand, Guard, namespace_of
from dmi.rest.identity import Scope
from dmi.rest.serving import HttpServer
from mapper_sdk.audit import Audit
from mapper_sdk.config import MapperConfig
from mapper_sdk.mapper import Mapper
from mapper_sdk.rest.app import Change, make_app
from mapper_sdk.rest.scopes import needed_scope

__all__ = ["RestService"]

log = logging.getLogger(__name__)

_FEED_SIZE: Final = 4096


class RestService:
    """Listens from the moment it is made; answers while `run` runs.

    Attributes:
        url: Where it can be reached.
    """

    def __init__(self, mapper: Mapper, config: MapperConfig) -> None:
        """Bind the address.

        Raises:
            ConfigError: The address cannot be had; or what guards it is missing or unusable.
        """
        door = Door.of(
            DoorSettings(
                config.rest,
                "rest",
                token_file=config.rest_token_file,
                clients=config.rest_clients,
                certificate=config.rest_certificate,
                key=config.rest_key,
                client_ca=config.rest_client_ca,
                insecure=config.rest_insecure,
                rate=config.rest_rate,
            )
        )
        feed: Feed[Change] = Feed(_FEED_SIZE)
        self._feed = feed
        guard = Guard(
            make_app(
                mapper,
                feed,
                audit=Audit(config.delivery.folder if config.delivery is not None else None),
                kubeedge_writes=config.kubeedge_writes,
            ),
            door.keys,
            judge=_judge,
            limits=door.limits,
            clock=mapper.clock,
        )
        self._server = HttpServer(guard, config.rest, tls=door.tls, websockets=True)
        self.url = self._server.url
        mapper.add_listener(feed.publish)

    async def run(self) -> None:
        """Answer until cancelled."""
        log.info("serving REST on %s", self.url)
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(self._server.run(), name="rest server")
            try:
                await asyncio.wait([serving])
            finally:
                # Streams never end by themselves, and the server waits for its answers.
                self._feed.close()


def _judge(method: str, path: str, query: bytes) -> Demand:
    return Demand(Scope(needed_scope(method, path)), namespace_of(path, query))
