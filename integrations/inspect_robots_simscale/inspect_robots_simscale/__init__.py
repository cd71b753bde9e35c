"""The environments and policies of SimScaleAI as embodiment, policy and task of inspect-robots."""

from __future__ import annotations

from inspect_robots_simscale.embodiment import SimScaleEmbodiment
from inspect_robots_simscale.policy import SimScalePolicy
from inspect_robots_simscale.task import simscale_task

__all__ = ["SimScaleEmbodiment", "SimScalePolicy", "simscale_task"]
