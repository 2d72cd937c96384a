"""Which targets there are, and which readings go to which of them."""
