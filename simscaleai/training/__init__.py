"""Training of policies from demonstrations; the command is `python -m simscaleai.train`."""
