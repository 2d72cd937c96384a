"""Links: how a mapper learns what to serve and says what it saw; one interface, three ways."""
