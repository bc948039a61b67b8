"""The methods' arithmetic over a row's slots."""
