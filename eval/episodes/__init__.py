"""Episodes: the plan, the loop that runs it, and the observers of the loop. Uses no files and no processes."""
