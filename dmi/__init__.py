"""The Device Management Interface as a contract: protobufs, resources, values and errors."""
