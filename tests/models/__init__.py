"""Models the tests run on: tiny, random-weight, built on disk in under a second."""
