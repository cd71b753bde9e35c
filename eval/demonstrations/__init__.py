"""Demonstrations: the labels of an expert, and the replay of a dataset."""
