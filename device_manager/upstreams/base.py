"""The interface between the manager and whoever owns the devices."""

from abc import ABC, abstractmethod

from device_manager.node import Node

__all__ = ["Upstream"]


class Upstream(ABC):
    """Keeps a node's models and devices equal to what a source says.

    Level-triggered: it compares all that the source says with all that the node has from
    it, so that nothing is lost because an event was. What is wrong at the source goes to
    `Node.report_upstream` and changes nothing else.
    """

    def __init__(self, node: Node) -> None:
        self.node = node

    @abstractmethod
    async def run(self) -> None:
        """Serve until cancelled; heal by itself."""
