"""Reinforcement learning on soft thoughts: see docs/training.md."""
