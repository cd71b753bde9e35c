"""The specification of the environment from which a dataset comes, restricted to what the dataset holds."""

from __future__ import annotations

from dataclasses import replace

from envs.registration import find_environment
from policies.base import Policy
from simscaleai.contract import ActionSpec, EnvSpec, differences
from simscaleai.data import Dataset
from simscaleai.data.keys import ACTION
from simscaleai.errors import MismatchError, SimScaleError

IMPORTED = "imported"
"""Id of the environment of a dataset that names none."""


def spec_of(dataset: Dataset, env: str | None) -> EnvSpec:
    """Return what the environment of `dataset` offers. Its vectors and images are those that the dataset holds.

    Args:
        dataset: Demonstrations, collected here or imported.
        env: Name of the environment; None for the first one that the dataset names. A dataset that names none gets a
            specification with everything that its files say.

    Raises:
        UnknownNameError: If there is no such environment.
        MismatchError: If the actions of the dataset are not those of the environment.
    """
    needs = dataset.needs
    name = env or next(iter(needs.environments or {}), None)
    spec = _imported(dataset) if name is None else find_environment(name).offer()
    if needs.environments and spec.env_id not in needs.environments:
        raise MismatchError([f"environment: dataset is of {', '.join(needs.environments)}, --env is {spec.env_id}"])
    size = dataset.array_types[ACTION].shape[0]
    if spec.action.size != size:
        raise MismatchError([f"action: the dataset has {size} numbers, {spec.env_id} has {spec.action.size}"])
    return replace(spec, vectors=needs.vectors, cameras=dict(needs.cameras), has_instructions=needs.instruction)


def _imported(dataset: Dataset) -> EnvSpec:
    needs, statistics = dataset.needs, dataset.statistics[ACTION]
    names = tuple(f"action.{number}" for number in range(len(statistics["min"])))
    return EnvSpec(
        env_id=IMPORTED,
        digest="",
        vectors=needs.vectors,
        render_profile=needs.render_profile,
        action=ActionSpec(
            names=names,
            low=tuple(statistics["min"]),
            high=tuple(statistics["max"]),
            meaning=needs.action or "",
        ),
        control_hz=needs.control_hz or 1.0,
        max_episode_steps=needs.max_episode_steps or max(episode.length for episode in dataset.episodes),
        success="unknown",
    )


def check_fit(policy: Policy, spec: EnvSpec) -> list[str]:
    """Check that the dataset holds what `policy` observes, and return the cameras whose images have another size.

    Raises:
        SimScaleError: If the dataset lacks something, or is of another task.
    """
    needs, cameras = policy.needs, dict(spec.cameras)
    other_size = [camera for camera, size in needs.cameras.items() if cameras.get(camera, size) != size]
    if spec.env_id == IMPORTED:
        needs = replace(needs, environments=None, max_episode_steps=None)
    if lacking := differences(needs, replace(spec, cameras=cameras | dict.fromkeys(other_size))):
        listing = "\n".join(f"  - {line}" for line in lacking)
        raise SimScaleError(
            f"the dataset does not fit the policy (here, the environment is that of the dataset):\n{listing}\n"
            "Give a dataset with the observations that the policy was trained on."
        )
    return other_size
