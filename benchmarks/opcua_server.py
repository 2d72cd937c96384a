"""The plant's simulator, fit for 10,000 changes a second.

asyncua's server copies each value deeply for each item that watches it, to be safe from who changes
a value in place afterwards. Nobody does here, and the copies cost three quarters of its time: with
them one process does not reach that rate on the machines that this was made on.
"""

import sys

from asyncua import ua
from asyncua.server.monitored_item_service import MonitoredItemValues

from mappers.opcua.simulator import main

__all__: list[str] = []


def _keep(self: MonitoredItemValues, value: ua.DataValue) -> None:
    self.old_dvalue = self.current_dvalue
    self.current_dvalue = value


if __name__ == "__main__":
    MonitoredItemValues.set_current_datavalue = _keep
    sys.exit(main(sys.argv[1:]))
