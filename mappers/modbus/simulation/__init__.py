"""A simulated plant: its contents, its faults, and the server in front of it."""
