"""What a target's readings and losses look like on disk: one SQLite file for each target."""
