"""Episodes: the plan, the loop that runs them, and what it tells observers. Knows no files and no processes."""
