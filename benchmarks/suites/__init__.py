"""Release checks: our runs in the suites of others equal plain loops of their packages."""
