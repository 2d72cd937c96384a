"""The command line `dmi`: the only room that knows all the others; loads each lazily."""
