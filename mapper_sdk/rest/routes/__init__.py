"""The routes of a mapper's REST API, one module for each idea."""
