"""Benchmarks of speed, and certificates of success rates. Commands are started as `python -m benchmarks.<name>`."""
