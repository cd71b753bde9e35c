"""Policies: the base class, the adapter for checkpoints, scripted experts and control policies."""
