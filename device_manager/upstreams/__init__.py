"""Where devices come from: one interface, one module for each kind of source."""
