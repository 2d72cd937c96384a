"""Protobuf contracts, one folder per version, each beside the code generated from it."""
