"""The data service of one mapper: what its devices say, live or cached, and writing to them."""
