"""`sglang-soft ask`: a question from the terminal, and its thought as it comes."""
