"""Policies without weights: scripted experts, and controls that must not succeed."""
