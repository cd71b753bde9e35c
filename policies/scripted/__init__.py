"""Policies without weights: scripted experts, and control policies that must not succeed."""
