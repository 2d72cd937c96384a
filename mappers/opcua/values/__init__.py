"""Values and status codes on their way between OPC UA and ours."""
