"""Bringing mappers that are called (v1beta1) to what is wanted: keys, operations, retries."""
