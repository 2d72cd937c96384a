"""Bluetooth LE mapper."""
