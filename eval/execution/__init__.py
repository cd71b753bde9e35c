"""Where episodes run: in this process, or in worker processes; and how policy and environment are built there."""
