"""Input embeddings of concept tokens and of plain ones."""
