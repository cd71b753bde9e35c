"""`SimScaleEnvConfig`: what `lerobot-eval` and `lerobot-train` know about an environment of SimScaleAI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lerobot.configs import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STR

from envs import find_environment
from lerobot_env_simscale.environment import camera_sizes, observation_name
from simscaleai.contract import EnvSpec

GYM_ID = "lerobot_env_simscale/SimScale-v0"
"""Id under which this package registers `SimScaleEnv`."""


@EnvConfig.register_subclass("simscale")
@dataclass
class SimScaleEnvConfig(EnvConfig):
    """An environment of SimScaleAI, for `--env.type=simscale`."""

    task: str = "pick-place"
    """Name of the environment, as for `--env` of `python -m eval.rollout`."""
    cameras: list[str] | None = None
    """Cameras to observe; None for all."""
    observation_height: int = 96
    """Height of the images [px], if the environment leaves the choice."""
    observation_width: int = 96
    """Width of the images [px], if the environment leaves the choice."""
    episode_length: int | None = None
    """Time limit in control steps; None for that of the environment."""

    def __post_init__(self) -> None:
        """Fill in control rate and features as the environment offers them.

        Raises:
            SimScaleError: If there is no such environment or camera.
        """
        spec = find_environment(self.task).offer()
        self.fps = round(spec.control_hz)
        self.features: dict[str, PolicyFeature] = {}
        self.features_map: dict[str, str] = {}
        self._add(ACTION, ACTION, FeatureType.ACTION, (spec.action.size,))
        for key, layout in spec.vectors.items():
            if not layout.privileged:
                self._add(observation_name(key), f"{OBS_STR}.{key}", FeatureType.STATE, (layout.size,))
        for camera, size in self._cameras(spec).items():
            self._add(f"{OBS_IMAGES}.{camera}", f"{OBS_IMAGES}.{camera}", FeatureType.VISUAL, (*size, 3))

    def _add(self, key: str, policy_key: str, kind: FeatureType, shape: tuple[int, ...]) -> None:
        self.features[key] = PolicyFeature(type=kind, shape=shape)
        self.features_map[key] = policy_key

    def _cameras(self, spec: EnvSpec) -> dict[str, tuple[int, int]]:
        return camera_sizes(spec, self.cameras, (self.observation_height, self.observation_width))

    @property
    def package_name(self) -> str:
        """Package that registers `gym_id`."""
        return "lerobot_env_simscale"

    @property
    def gym_id(self) -> str:
        """Id for `gymnasium.make`, the same for all tasks."""
        return GYM_ID

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        """Arguments of `SimScaleEnv`."""
        size = (self.observation_height, self.observation_width)
        return {"task": self.task, "cameras": self.cameras, "image_size": size, "episode_length": self.episode_length}
