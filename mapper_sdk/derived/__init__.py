"""Readings that apps work out and hand in."""
