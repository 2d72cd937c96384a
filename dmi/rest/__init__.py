"""What the REST APIs of manager and mappers share: who may ask, how much, and over what."""
