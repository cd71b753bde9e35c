"""What a training step takes: the order of the frames, the reading of samples, and their conversion on the device."""
