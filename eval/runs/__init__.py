"""The folder of a run: its record, episodes and receipts, and figures computed from them. Runs no episodes."""
