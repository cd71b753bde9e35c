"""What a policy is: the protocol, the adapter for learned models, scripted experts and baselines."""
