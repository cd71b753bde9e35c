"""Learning: models, processing, data, checkpoints, training. It works on arrays and imports no simulator."""
