"""Demonstrations: labels by an expert, and verification of a dataset by replay."""
