"""Measurements of the toolkit beside the bare libraries, for `make bench`; never timed tests."""
