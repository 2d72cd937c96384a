"""The node's control plane: desired state in, DMI out, twins kept."""
