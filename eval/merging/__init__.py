"""Joins the shards of runs, batteries and collections."""
