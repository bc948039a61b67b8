"""Hooks on SGLang, one module for each SGLang class. `registry.py` lists every change."""
