"""Changes of the instructions, observations and actions of a policy, to find out what its success depends on."""
