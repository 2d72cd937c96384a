"""Certificates: our own, and those of the servers that we trust."""
