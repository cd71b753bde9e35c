"""Learning: models, processing, data, checkpoints, training. Knows arrays, not simulators."""
