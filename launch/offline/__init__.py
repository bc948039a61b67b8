"""A GPU machine: what to carry there, and what to check and measure on it."""
