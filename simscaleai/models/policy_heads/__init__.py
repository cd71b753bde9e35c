"""Heads that map features to actions."""
