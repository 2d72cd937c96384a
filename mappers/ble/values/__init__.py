"""What bytes mean: fields of one's own, the standard characteristics, KubeEdge's converters."""
