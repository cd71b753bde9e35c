"""Two runs of the same episodes: pairs, verdict, text, JSON."""
