"""The stream of changes: each encoded once, however many listen to it."""
