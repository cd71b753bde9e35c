"""The environments of SimScaleAI in LeRobot: `--env.type=simscale`. LeRobot imports this package by its name."""

from __future__ import annotations

import gymnasium as gym

from lerobot_env_simscale.config import GYM_ID, SimScaleEnvConfig

__all__ = ["SimScaleEnvConfig"]

gym.register(GYM_ID, entry_point="lerobot_env_simscale.environment:SimScaleEnv")
