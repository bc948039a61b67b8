"""What stopping rules ask of the logits of a step."""
