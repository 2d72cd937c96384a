"""Everything a mapper does that is not protocol: bring a driver, get a running mapper."""
