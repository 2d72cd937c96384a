"""What the OpenAPI document says beyond what the routes say themselves."""
