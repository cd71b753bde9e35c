"""Observers of the one rollout loop: logs, videos, datasets."""
