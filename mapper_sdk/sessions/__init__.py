"""One device being served, from connect to removal, and the turns on what devices share."""
