"""Environments of others: any `gymnasium.Env`, in this process."""
