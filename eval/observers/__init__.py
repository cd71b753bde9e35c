"""Observers of the rollout loop: log, progress, stopping, films, demonstrations, traces, receipts."""
