"""The front end: settings, limits, routes, and what a client sends and reads."""
