"""Runs a plan on the machines of a Ray cluster."""
