"""`SimScaleEmbodiment`: one slot of an environment of SimScaleAI as an embodiment."""

from __future__ import annotations

import numpy as np
from inspect_robots import Action, EmbodimentBase, EmbodimentInfo, Observation, Scene, StepResult
from inspect_robots.embodiment import AUTO_RESET, PRIVILEGED_SUCCESS, RESETTABLE, SEEDABLE

from envs.slots import Start
from inspect_robots_simscale.spaces import action_box, find_task, observation_space

_SLOT = np.zeros(1, dtype=np.intp)
_WITH_IMAGES = np.ones(1, dtype=bool)


class SimScaleEmbodiment(EmbodimentBase):
    """One slot of an environment of SimScaleAI. An episode ends at its first success or at the time limit."""

    def __init__(self, env: str = "pick-place", image_size: int = 96) -> None:
        """Make the environment.

        Args:
            env: Name of the environment, as for `--env` of `python -m eval.rollout`.
            image_size: Height and width of the images [px], where the environment leaves the choice.

        Raises:
            SimScaleError: If there is no such environment, or `env` names several.
        """
        registration = find_task(env)
        spec = registration.offer()
        cameras = {camera: size or (image_size, image_size) for camera, size in spec.cameras.items()}
        measured = [key for key, layout in spec.vectors.items() if not layout.privileged]
        needs = spec.needs(*measured, cameras=cameras, instruction=spec.has_instructions)
        self._slots = registration.make(1, needs, terminate_on_success=True, max_episode_steps=None)
        self._vectors, self._cameras = needs.vectors, needs.cameras
        self._instruction = ""
        self.info = EmbodimentInfo(
            name=f"simscale/{env}",
            action_space=action_box(spec.action),
            observation_space=observation_space(needs.vectors, cameras),
            control_hz=spec.control_hz,
            is_simulated=True,
            capabilities=frozenset({AUTO_RESET, PRIVILEGED_SUCCESS, RESETTABLE, SEEDABLE}),
            docs=f"Action: {spec.action.in_words}. Success: {spec.success}.",
            environment_id=spec.env_id,
            environment_revision=spec.digest,
        )

    def reset(self, scene: Scene, *, seed: int | None = None) -> Observation:
        """Begin the episode of `scene.init_seed`, or of `seed` if the scene has none.

        The instruction is that of the scene, or the environment's own if the scene has none.
        """
        chosen = seed if scene.init_seed is None else scene.init_seed
        (begun,) = self._slots.reset(_SLOT, [Start(chosen or 0)])
        self._instruction = scene.instruction or begun.instruction
        return self._observe()

    def step(self, action: Action) -> StepResult:
        """Advance by one control step. Values beyond the limits of the action are clipped."""
        transition = self._slots.step(_SLOT, np.asarray(action.data, np.float32)[None])
        success = bool(transition.success[0])
        return StepResult(
            observation=self._observe(),
            reward=float(transition.reward[0]),
            terminated=bool(transition.terminated[0]),
            termination_reason="success" if success else transition.failure[0] or None,
            truncated=bool(transition.truncated[0]),
            info={"success": success, "stage": transition.stage[0]},
        )

    def _observe(self) -> Observation:
        rows = self._slots.observe(_SLOT, _WITH_IMAGES)
        return Observation(
            images={camera: rows[camera][0] for camera in self._cameras},
            state={key: rows[key][0] for key in self._vectors},
            instruction=self._instruction,
        )

    def close(self) -> None:
        """Free all resources."""
        self._slots.close()
