"""From logits to a concept token: entropy, filter and the most probable tokens."""
