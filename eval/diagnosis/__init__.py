"""Diagnosis of a policy: what is wrong between recorded observations and its actions, found by trying corrections."""
