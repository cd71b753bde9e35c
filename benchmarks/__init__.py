"""What is fast and how we know; what was certified. Every file is a command: `python -m benchmarks.<name>`."""
