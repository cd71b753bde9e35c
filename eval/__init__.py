"""The evaluation harness: the rollout loop, its records, its statistics and its commands."""
