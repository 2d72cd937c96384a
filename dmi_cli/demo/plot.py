"""What is special to the story of each protocol."""

from dataclasses import dataclass
from typing import Final

__all__ = ["PLOTS", "Plot"]


@dataclass(frozen=True)
class Plot:
    """One protocol's part in the story.

    Attributes:
        protocol: Names mapper and simulator.
        plant: Folder of its device files, in `examples` and beside the installed program.
        device: Device whose set-point is written.
        setpoint: Name of the writable property.
        wishes: Two values for it, both other than what the simulator starts with.
        reading: Another property of that device, to look at.
    """

    protocol: str
    plant: str
    device: str
    setpoint: str
    wishes: tuple[float, float]
    reading: str = "temperature"


PLOTS: Final = {
    plot.protocol: plot
    for plot in (
        Plot("modbus", "plant", "boiler", "setpoint", (62.5, 58.0)),
        Plot("opcua", "plant_opcua", "opcua-boiler", "setpoint", (62.5, 58.0)),
        Plot("ble", "plant_ble", "heater", "setpoint", (22.5, 24.0)),
    )
}
"""By protocol; `all` tells them together."""
