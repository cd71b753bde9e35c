"""Benchmarks of speed, certificates of success rates, and release checks: `python -m benchmarks.FOLDER.NAME`.

CONTRIBUTING.md says what each folder answers. Tables lie in `results/`, and what did not work is noted in `LOG.md`.
"""
