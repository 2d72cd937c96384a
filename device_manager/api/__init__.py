"""The manager's REST API: devices, models, mappers and twins, and a stream of their changes."""
