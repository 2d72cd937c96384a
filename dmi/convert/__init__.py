"""Between protobuf messages and our own types; nothing else looks inside the messages."""
