"""Recordings of episodes for the Rerun viewer: what an episode shows over time, and the files that hold it."""
