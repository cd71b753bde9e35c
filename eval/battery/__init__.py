"""What a robustness battery found: success over level, drops, ceilings, pairs of axes, and two policies compared."""
