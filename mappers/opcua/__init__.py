"""Mapper for OPC UA servers."""
