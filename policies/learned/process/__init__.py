"""One process computes the actions of a learned policy for several workers, over shared memory."""
