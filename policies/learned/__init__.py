"""Learned policies: checkpoints of ours."""
