"""Mapper for Modbus devices: TCP, TLS, UDP, RTU, RTU over TCP, ASCII."""
