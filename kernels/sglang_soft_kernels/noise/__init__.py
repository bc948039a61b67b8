"""Noise as a pure function of (seed, position, stream, lane), and the start of a step."""
