"""Thinking in hidden states: what is fed in place of an embedding, and until when."""
