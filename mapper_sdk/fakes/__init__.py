"""Stand-ins for the world around a mapper: time, and KubeEdge's EdgeCore."""
