"""Release checks: datasets and reports in the formats of others hold the same values for the packages of others."""
