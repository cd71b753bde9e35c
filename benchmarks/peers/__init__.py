"""Release checks: policies and environments give the same results here and in the tools of others."""
