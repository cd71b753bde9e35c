"""Checks the arguments of the Gymnasium environments and converts them to arguments of `TaskSlots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import ArrayLike, NDArray

from envs.tabletop.names import ACHIEVED_GOAL, ACTION, CAMERAS, DESIRED_GOAL, ENVIRONMENT_STATE, OBSERVATION, STATE
from envs.tabletop.registration import find_task
from envs.tabletop.simulation import MAX_ARM_SPEED
from envs.tabletop.task_slots import START_OPTIONS, TaskSlots, task_spec
from simscaleai.contract import Observation
from simscaleai.errors import SimScaleError, UnknownNameError

if TYPE_CHECKING:
    from envs.tabletop.tasks.goal_task import GoalTask

MOST_PIXELS = 4096
"""Largest height and width of an image; no GL driver draws much larger ones."""

Seeds = int | Sequence[int | None] | NDArray[np.integer] | None
"""What `reset` takes for seeds."""

_BOUNDS = {STATE: MAX_ARM_SPEED, **dict.fromkeys((ENVIRONMENT_STATE, OBSERVATION, ACHIEVED_GOAL, DESIRED_GOAL), 1000.0)}
"""Bound of the entries of each vector: a faster arm has diverged, and a falling cube stays within 1 km."""


def make_task_slots(
    env_id: str,
    num_envs: int,
    *,
    cameras: Sequence[str] = (),
    image_size: int | tuple[int, int] = 128,
    environment_state: bool = False,
    terminate_on_success: bool = True,
    reward: str = "sparse",
    max_episode_steps: int | None = None,
    num_threads: int | None = None,
) -> TaskSlots:
    """Make the slots behind a Gymnasium environment; see `TaskVectorEnv` for the arguments."""
    task_class = find_task(env_id)
    check_choice("reward", reward, task_class.rewards)
    check_cameras(cameras)
    size = height_and_width(image_size)
    vectors = (*task_class.usual_vectors, *([ENVIRONMENT_STATE] if environment_state else []))
    return TaskSlots(
        env_id,
        task_class,
        num_envs,
        task_spec(env_id, task_class, max_episode_steps).needs(*vectors, cameras=dict.fromkeys(cameras, size)),
        terminate_on_success=terminate_on_success,
        max_episode_steps=max_episode_steps,
        dense_reward=reward == "dense",
        num_threads=num_threads,
    )


def action_space() -> gym.Space[NDArray[np.float32]]:
    """Return the space of one action."""
    low, high = np.array(ACTION.low, np.float32), np.array(ACTION.high, np.float32)
    return cast("gym.Space[NDArray[np.float32]]", gym.spaces.Box(low, high, dtype=np.float32))


def observation_space(slots: TaskSlots) -> gym.Space[Observation]:
    """Return the space of one observation of `slots`: a key for each vector and each camera."""
    spaces: dict[str, gym.Space[Any]] = {
        key: gym.spaces.Box(-_BOUNDS[key], _BOUNDS[key], (layout.size,), np.float32)
        for key, layout in slots.needs.vectors.items()
    }
    for key, size in slots.needs.cameras.items():
        spaces[key] = gym.spaces.Box(0, 255, (*size, 3), np.uint8)
    return cast("gym.Space[Observation]", gym.spaces.Dict(spaces))


def goal_reward(slots: TaskSlots, achieved: ArrayLike, desired: ArrayLike) -> Any:
    """Return the reward (…) of the goals (…, 3) [m] in the goal-conditioned task of `slots`.

    Raises:
        SimScaleError: If the goals are no points, or have different shapes.
    """
    points = np.asarray(achieved), np.asarray(desired)
    if points[0].shape != points[1].shape or points[0].shape[-1:] != (3,):
        raise SimScaleError(f"expected goals of one shape (…, 3), got {points[0].shape} and {points[1].shape}")
    task = cast("GoalTask", slots.task)
    return task.sparse_reward(task.is_success(*points))


class SeedStream:
    """Seeds for the episodes of one slot.

    If the caller gives no seed for an episode, the seed comes from a random stream. The last given seed starts this
    stream.
    """

    def __init__(self) -> None:
        """Start with a stream that the operating system seeds."""
        self._source: np.random.Generator | int | None = None

    def next(self, seed: int | None = None) -> int:
        """Return the seed of the next episode: `seed` if given, else the next seed of the stream."""
        if seed is not None:
            self._source = int(seed)
            return self._source
        if not isinstance(self._source, np.random.Generator):
            self._source = np.random.default_rng(self._source)
        return int(self._source.integers(2**31))


def check_choice(kind: str, value: object, choices: Sequence[object]) -> None:
    """Raise `UnknownNameError` unless `value` is one of `choices`."""
    if value not in choices:
        raise UnknownNameError(kind, value, choices)


def check_cameras(cameras: Sequence[str]) -> None:
    """Raise `SimScaleError` unless `cameras` are known names."""
    if isinstance(cameras, str):
        raise SimScaleError(f"cameras must be a sequence of names, for example ({cameras!r},), got a text")
    for camera in cameras:
        check_choice("camera", camera, CAMERAS)


def height_and_width(size: int | Sequence[int]) -> tuple[int, int]:
    """Return the height and the width [px] that `size` gives, one number for both or two numbers."""
    both = (size, size) if isinstance(size, int | np.integer) else tuple(size) if isinstance(size, Sequence) else ()
    if len(both) != 2 or not all(isinstance(each, int | np.integer) and 1 <= each <= MOST_PIXELS for each in both):
        expected = f"one number or (height, width), each 1 to {MOST_PIXELS} px"
        raise SimScaleError(f"image_size must be {expected}, got {size!r}")
    return int(both[0]), int(both[1])


def find_autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """Return `mode`, which may be a name, as an `AutoresetMode`, as Gymnasium's own vector environments do."""
    try:
        return AutoresetMode(mode)
    except ValueError as error:
        raise UnknownNameError("autoreset_mode", mode, [each.value for each in AutoresetMode]) from error


def as_actions(actions: ArrayLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return `actions` as an array of real numbers.

    Raises:
        SimScaleError: If they have another shape than `shape`, or are no real numbers.
    """
    expected = f"expected actions of shape {shape}, real numbers"
    try:
        array = np.asarray(actions)
    except (TypeError, ValueError) as error:  # rows of different lengths, an array on a GPU
        raise SimScaleError(f"{expected}, got {type(actions).__name__} ({' '.join(str(error).split())})") from error
    if array.shape != shape or array.dtype.kind not in "fiu":
        raise SimScaleError(f"{expected}, got shape {array.shape} and dtype {array.dtype}")
    return array


def check_mask(name: str, mask: NDArray[np.bool_], num_envs: int) -> None:
    """Raise `SimScaleError` unless `mask` is a bool array of shape (num_envs,)."""
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,):
        got = f"shape {mask.shape} and dtype {mask.dtype}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise SimScaleError(f"{name} must be a bool array of shape ({num_envs},), got {got}")


def per_slot_seeds(seed: Seeds, num_envs: int) -> Sequence[int | None]:
    """Return one seed per slot. An int s gives slot i the seed s + i. None: the slot draws from its own stream."""
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, int | np.integer):
        seed = range(int(seed), int(seed) + num_envs)  # a sum of small NumPy integers may overflow
    seeds = seed.tolist() if isinstance(seed, np.ndarray) else seed
    if not isinstance(seeds, Sequence) or len(seeds) != num_envs:
        raise SimScaleError(f"expected an int or {num_envs} seeds, one per slot, got {seed!r}")
    if any(each is not None and (not isinstance(each, int | np.integer) or each < 0) for each in seeds):
        raise SimScaleError(
            f"a seed must be an integer of at least 0 or None, got {seed if num_envs > 1 else seeds[0]!r}"
        )
    return seeds


def own_options(options: Mapping[str, Any] | None, names: Sequence[str]) -> dict[str, Any]:
    """Return the options of `reset` that have one of `names`. The others belong to other tools and are ignored.

    Raises:
        UnknownNameError: If the name of an option is close to one of ours.
    """
    options = options or {}
    for name in options:
        if name not in names and get_close_matches(str(name), names, n=1, cutoff=0.8):
            raise UnknownNameError("reset option", name, names)
    return {name: options[name] for name in names if name in options}


def per_slot_options(options: Mapping[str, Any], num_envs: int) -> list[dict[str, Any]]:
    """Return the start options of each slot. An option is one value for all slots, or a sequence with one per slot."""
    rows: list[dict[str, Any]] = [{} for _ in range(num_envs)]
    for name in START_OPTIONS:
        value = options.get(name)
        if value is None:
            continue
        kind, word = (Mapping, "mapping") if name == "perturbation" else (str, "text")
        values = [value] * num_envs if isinstance(value, kind) else value
        proper = isinstance(values, Sequence) and all(each is None or isinstance(each, kind) for each in values)
        if not proper or len(values) != num_envs:
            raise SimScaleError(
                f"option {name!r} needs one {word} for all slots or {num_envs}, one per slot; got {value!r}"
            )
        for row, each in zip(rows, values, strict=True):
            row[name] = each
    return rows
