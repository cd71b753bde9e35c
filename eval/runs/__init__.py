"""The folder of a run: its record, its episodes, its receipts, and what is computed from them. Runs no episodes."""
