"""Bluetooth LE devices that are not there: for the demo, the tests, and trying out."""
