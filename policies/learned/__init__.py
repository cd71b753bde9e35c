"""Learned policies, which run checkpoints of this project."""
