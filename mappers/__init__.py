"""The bundled drivers, one folder per protocol, all of the same shape."""
