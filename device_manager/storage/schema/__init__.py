"""Numbered migrations of the manager's database; each is applied once, in order."""
