"""Server arguments by model and hardware."""
