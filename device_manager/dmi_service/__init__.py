"""The DMI as the manager serves it: one module per version, on one socket."""
