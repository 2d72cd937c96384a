"""The manager's memory on disk: one SQLite file, one writing thread, numbered schemas."""
