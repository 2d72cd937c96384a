"""The simulated plant behind `dmi simulate opcua`."""
