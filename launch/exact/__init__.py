"""What rounding does to a thought: how it grows, what company changes, what is exact."""
