"""Sparkplug B: the payloads of an edge node, and the order in which they must come."""
