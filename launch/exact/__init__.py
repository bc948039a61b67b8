"""What becomes of a rounding error in a thought: `chaos` measures it and draws it."""
