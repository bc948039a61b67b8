"""Soft Thinking (arXiv 2505.15778) as a plugin of a stock SGLang. Importing this package imports
nothing heavy."""

__version__ = "0.1.0"
