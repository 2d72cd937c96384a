"""What speaks to each kind of target; one module a kind, loaded when it is used."""
