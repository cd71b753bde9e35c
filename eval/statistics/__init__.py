"""Statistics of success rates: one rate, two paired rates, stopping early, power, several tests. Pure functions."""
