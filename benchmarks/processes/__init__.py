"""What it costs to run environments, policies and episodes in other processes, and what their loss does to a run."""
