"""What is served: declarations resolved against models and the driver, and readings scaled."""
