"""What the routes of a mapper's REST API work with."""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from fastapi import Depends, Request

from mapper_sdk.audit import Audit
from mapper_sdk.delivery.history import History
from mapper_sdk.delivery.service import Delivery
from mapper_sdk.mapper import Mapper
from mapper_sdk.rest.idempotency import Repetitions
from mapper_sdk.rest.metrics import Metrics
from mapper_sdk.rest.streams.channels import Channels

__all__ = ["Api", "TheApi"]


@dataclass(slots=True)
class Api:
    """The mapper and all that stands around it.

    Attributes:
        mapper: Whose devices these are.
        channels: The stream of changes.
        audit: Where writes are noted.
        repetitions: Answers to requests with an `Idempotency-Key`.
        metrics: What is counted.
        kubeedge_writes: Whether mapper-framework's write by GET is served.
    """

    mapper: Mapper
    channels: Channels
    audit: Audit
    repetitions: Repetitions
    metrics: Metrics
    kubeedge_writes: bool = False

    @property
    def delivery(self) -> Delivery | None:
        """The targets of readings, where there are any."""
        return self.mapper.delivery

    @property
    def history(self) -> History | None:
        """The embedded store of the past, where there is one."""
        delivery = self.delivery
        return delivery.history if delivery is not None else None


def _the_api(request: Request) -> Api:
    api: Api = request.app.state.api
    return api


TheApi: TypeAlias = Annotated[Api, Depends(_the_api)]
