"""What `dmi new mapper` copies: a driver for a device called kiln, its simulator and its test."""
