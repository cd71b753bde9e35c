"""`SimScalePolicy`: any policy of `--model` as a policy of inspect-robots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from inspect_robots import Action, ActionChunk, Observation, PolicyBase, PolicyConfig, PolicyInfo, Scene

from inspect_robots_simscale.spaces import action_box, find_task, observation_space
from policies.registry import make_policy
from simscaleai.contract import check_needs
from simscaleai.errors import SimScaleError

_SLOT = np.zeros(1, dtype=np.intp)


class SimScalePolicy(PolicyBase):
    """A policy of SimScaleAI. It answers with the actions of a chunk that are executed before it looks again."""

    def __init__(
        self, model: str = "vla", env: str = "pick-place", checkpoint: str | None = None, **options: object
    ) -> None:
        """Make the policy.

        Args:
            model: As `--model` of `python -m eval.rollout`.
            env: Name of the environment to act in.
            checkpoint: Folder with the weights of a learned policy.
            **options: As `--policy-option NAME=VALUE`.

        Raises:
            SimScaleError: If the policy cannot be made, does not fit the environment, averages overlapping chunks, or
                looks at several observations at once.
        """
        spec = find_task(env).offer()
        texts = {name: str(value) for name, value in options.items()}
        self._policy = make_policy(model, spec=spec, checkpoint=Path(checkpoint) if checkpoint else None, options=texts)
        needs = self._policy.needs
        check_needs(needs, spec)
        if self._policy.options.get("ensemble_decay") is not None or needs.history > 1:
            raise SimScaleError(
                f"expected a policy that executes chunks and looks at one observation, got {model!r} with "
                f"{dict(self._policy.options)} and history {needs.history}; evaluate it with eval.rollout"
            )
        self._vectors, self._cameras = needs.vectors, needs.cameras
        self._n_action_steps: int | None = self._policy.options.get("n_action_steps")
        self._seed: int | None = 0
        """Seed of the episode that begins; None while one runs."""
        self.config = PolicyConfig(action_horizon=self._n_action_steps or 1)
        self.info = PolicyInfo(
            name=f"simscale/{model}",
            action_space=action_box(spec.action),
            observation_space=observation_space(needs.vectors, needs.cameras),
            control_hz=spec.control_hz,
            checkpoint=self._policy.identity,
        )

    def reset(self, scene: Scene) -> None:
        """Begin an episode with the seed of the scene, or 0 if it has none."""
        self._seed = scene.init_seed or 0

    def act(self, observation: Observation) -> ActionChunk:
        """Return the actions to execute before the next look."""
        if self._seed is not None:
            self._policy.reset(_SLOT, [self._seed], [observation.instruction or ""])
            self._seed = None
        vectors = {key: np.asarray(observation.state[key], np.float32)[None] for key in self._vectors}
        images = {camera: np.asarray(observation.images[camera])[None] for camera in self._cameras}
        chunk = self._policy.predict({**vectors, **images}, _SLOT)[0]
        return ActionChunk([Action(action.copy()) for action in chunk[: self._n_action_steps]])

    def close(self) -> None:
        """Free all resources."""
        self._policy.close()
