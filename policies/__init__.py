"""Policies: the base class, the adapter for checkpoints, scripted experts and control policies."""

import simscaleai.errors  # noqa: F401 (before the libraries, so that Ctrl-C while they load leaves no traceback)
