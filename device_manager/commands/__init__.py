"""Calls of devices' methods: kept, given to mappers, followed to their end."""
