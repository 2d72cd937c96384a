"""A session with a server, its subscriptions, and how they are kept alive."""
