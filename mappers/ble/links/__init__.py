"""Links to devices over a radio that has few: who has one, for how long, and what goes over it."""
