"""A thought as a person reads it: the live page, the page as a file, the figure."""
