"""The contract between environments and policies: vectors, cameras, actions, and the check that both sides match.

An environment says what it offers (`EnvSpec`). A policy, an expert or a recorder says what it needs (`Needs`).
`differences` is the only function that compares the two.

This module imports neither a simulator nor torch, so a policy can import it on a robot.

Time convention of the whole project (control step t lasts 1 / control_hz seconds)::

    observation_t --policy--> action_t --simulation--> observation_{t+1}, reward_t, success_t

All quantities are SI. Quaternions are (w, x, y, z).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from numpy.typing import NDArray

from simscaleai.errors import MismatchError, SimScaleError, UnknownNameError
from simscaleai.json_data import DAMAGE, plain, read_checked
from simscaleai.perturbation import Axis

Observation = dict[str, NDArray[Any]]
"""Maps the key of each vector and camera to an array with one row per slot. Vectors are float32 (n, size), images are
uint8 (n, height, width, 3)."""

TASK = "task"
"""Start option that names the task of an episode within a suite, by the id of its environment."""

ImageSize = tuple[int, int]
"""Height and width [px]."""

# Limits for sizes that are read from files, because a damaged file may contain a size that exceeds the memory.
_FEATURE_SIZE_LIMIT = 1_000_000  # entries of one feature, exclusive
MAX_IMAGE_SIDE = 4096
"""Largest height or width of an image [px]."""
_MAX_CONTROL_HZ = 1_000_000.0


@dataclass(frozen=True)
class Feature:
    """One named quantity inside a vector."""

    name: str
    size: int
    unit: str
    frame: str

    def __post_init__(self) -> None:
        """Check that the size is possible, because it may come from a damaged file."""
        if not 0 < self.size < _FEATURE_SIZE_LIMIT:
            raise SimScaleError(
                f"expected a size from 1 to {_FEATURE_SIZE_LIMIT - 1} for feature {self.name!r}, got {self.size}"
            )


@dataclass(frozen=True)
class Layout:
    """Names, order, units and frames of the entries of one vector."""

    features: tuple[Feature, ...]
    privileged: bool = False
    """Whether the vector is simulator truth, which no robot can measure. A policy with cameras never receives it."""

    @property
    def size(self) -> int:
        """Length of the vector."""
        return sum(feature.size for feature in self.features)

    @property
    def entry_names(self) -> list[str]:
        """Name of each entry of the vector: that of its feature, with a number if the feature has several entries."""
        return [
            feature.name if feature.size == 1 else f"{feature.name}.{number}"
            for feature in self.features
            for number in range(feature.size)
        ]

    def __str__(self) -> str:
        """Return the names, sizes and units of the features as text for messages."""
        units = [f" [{feature.unit}]" if feature.unit else "" for feature in self.features]
        return " + ".join(f"{each.name}({each.size}){unit}" for each, unit in zip(self.features, units, strict=True))

    def slice(self, name: str) -> slice:
        """Return the slice of the vector that holds feature `name`.

        Raises:
            KeyError: If the layout has no such feature.
        """
        start = 0
        for feature in self.features:
            if feature.name == name:
                return slice(start, start + feature.size)
            start += feature.size
        known = ", ".join(feature.name for feature in self.features)
        raise KeyError(f"no feature {name!r}; there are: {known}")

    def get(self, vectors: NDArray[Any], name: str) -> NDArray[Any]:
        """Return feature `name` of `vectors` (..., size) as a view (..., feature size)."""
        return vectors[..., self.slice(name)]


@dataclass(frozen=True, kw_only=True)
class ActionSpec:
    """Names, limits and meaning of the entries of an action."""

    names: tuple[str, ...]
    """Name of each entry."""
    low: tuple[float, ...]
    """Smallest value of each entry."""
    high: tuple[float, ...]
    """Largest value of each entry."""
    meaning: str
    """What an action does, in words, with units and frames."""
    idle: Literal["zero", "repeat"] = "zero"
    """What is sent until the next action is available: zeros (displacements), or the last action (absolute targets)."""
    held: tuple[str, ...] = ()
    """Names of entries that repeat their last value although the others are zero, such as the opening of a gripper."""

    @property
    def size(self) -> int:
        """Number of entries, A."""
        return len(self.names)

    @property
    def in_words(self) -> str:
        """Names, limits and meaning in one line."""
        limits = zip(self.names, self.low, self.high, strict=True)
        return f"{', '.join(f'{name} ({low:g} to {high:g})' for name, low, high in limits)}: {self.meaning}"


@dataclass(frozen=True, kw_only=True)
class EnvSpec:
    """What an environment offers: its observations, actions, control rate and success rule."""

    env_id: str
    """Full id with its version, for example "SimScale/Reach-v0"."""
    digest: str
    """Digest of the simulation. It changes when the same actions could lead to another result."""
    vectors: Mapping[str, Layout]
    """Observation key to the layout of that vector."""
    cameras: Mapping[str, ImageSize | None] = field(default_factory=dict)
    """Observation key of each camera to the size of its images; None if the reader chooses the size."""
    render_profile: str | None = None
    """Digest of how images are rendered; None if it is unknown or the environment renders no images."""
    film_cameras: tuple[str, ...] = ()
    """Cameras for films, the default first; empty if the environment cannot be filmed."""
    action: ActionSpec
    """Names, limits and meaning of the entries of an action."""
    control_hz: float
    """Control steps per second."""
    max_episode_steps: int
    """Time limit of an episode in control steps."""
    success: str
    """Condition for the success of an episode, in words."""
    has_instructions: bool = False
    """Whether episodes come with an instruction in words."""
    repeats: Literal["exact", "no", "unknown"] = "exact"
    """Whether a repetition of the same start and actions on the same machine gives the same bytes."""
    distinct_starts: int | None = None
    """Number of different starts; None if every seed gives a different start."""
    tasks: Mapping[str, str] = field(default_factory=dict)
    """Id of each task of a suite to its digest; empty for a single task."""
    axes: tuple[Axis, ...] = ()
    """Ways to perturb the scene. The start option "perturbation" maps the name of an axis to a magnitude."""

    def __post_init__(self) -> None:
        """Check that the numbers are possible, because they may come from a damaged file."""
        _check_times(self.control_hz, self.max_episode_steps)

    def needs(self, *vectors: str, cameras: Mapping[str, ImageSize] | None = None, instruction: bool = False) -> Needs:
        """Return the needs of a reader (a policy, an expert or a recorder) of these `vectors` and `cameras`.

        Example:
            >>> needs = spec.needs("state", cameras={"front": (96, 96)})

        Raises:
            UnknownNameError: If there is no such vector.
        """
        for key in vectors:
            if key not in self.vectors:
                raise UnknownNameError("vector observation", key, self.vectors)
        cameras = dict(cameras or {})
        return Needs(
            vectors={key: self.vectors[key] for key in vectors},
            cameras=cameras,
            instruction=instruction,
            environments=dict(self.tasks) or {self.env_id: self.digest},
            render_profile=self.render_profile if cameras else None,
            action=self.action.meaning,
            control_hz=self.control_hz,
            max_episode_steps=None if self.tasks else self.max_episode_steps,  # each task has its own limit
        )

    def to_json(self) -> dict[str, Any]:
        """Return the specification as plain JSON data."""
        data: dict[str, Any] = plain(asdict(self))
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EnvSpec:
        """Rebuild a specification from `to_json`.

        Raises:
            SimScaleError: If the data is damaged, or a newer version wrote it.
        """
        return read_checked(cls, data)


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a reader of observations (a policy, an expert or a recorder) needs from an environment.

    `environments` and the fields after it say what the reader was made for. None accepts any value.
    """

    vectors: Mapping[str, Layout] = field(default_factory=dict)
    """Observation key to layout, in the order in which models join the vectors."""
    cameras: Mapping[str, ImageSize] = field(default_factory=dict)
    """Observation key of each camera to the size of its images, in the order in which models join them."""
    instruction: bool = False
    """Whether the instruction is read."""
    history: int = 1
    """Number of consecutive observations that the reader gets at once, the newest last. Above 1, arrays have the shape
    (n, history, ...)."""
    environments: Mapping[str, str] | None = None
    """Environment id to digest."""
    render_profile: str | None = None
    """Digest of how images are rendered."""
    action: str | None = None
    """What an action does, as `ActionSpec.meaning` says."""
    control_hz: float | None = None
    """Control steps per second."""
    max_episode_steps: int | None = None
    """Time limit of an episode in control steps."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the observations: vectors, then cameras."""
        return (*self.vectors, *self.cameras)

    @property
    def privileged(self) -> tuple[str, ...]:
        """Keys of the vectors that are simulator truth."""
        return tuple(key for key, layout in self.vectors.items() if layout.privileged)

    @property
    def measured(self) -> tuple[str, ...]:
        """Keys of the vectors that a robot can measure."""
        return tuple(key for key, layout in self.vectors.items() if not layout.privileged)

    def __post_init__(self) -> None:
        """Check that the numbers are possible, because they may come from a damaged file."""
        if self.history < 1:
            raise SimScaleError(f"expected a history of at least 1, got {self.history}")
        _check_times(self.control_hz, self.max_episode_steps)
        for camera, size in self.cameras.items():
            if not all(0 < length <= MAX_IMAGE_SIDE for length in size):
                most = f"1 to {MAX_IMAGE_SIDE} px"
                raise SimScaleError(
                    f"expected images of camera {camera!r} with a height and width of {most}, got {size}"
                )

    def to_json(self) -> dict[str, Any]:
        """Return the needs as plain JSON data."""
        data: dict[str, Any] = plain(asdict(self))
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Needs:
        """Rebuild needs from `to_json`, or from the contract of a dataset or checkpoint of format version 1.

        Raises:
            SimScaleError: If the data is damaged, or a newer version wrote it.
        """
        try:
            return read_checked(cls, data if "vectors" in data else _from_version_1(data))
        except SimScaleError:
            raise
        except DAMAGE as error:
            raise SimScaleError(f"stored needs are damaged: {error}") from error


def union_of_needs(readers: Iterable[Needs]) -> Needs:
    """Return the vectors, cameras and instruction that an environment must provide for all `readers`.

    All other fields have their default values.

    Raises:
        MismatchError: If two readers need images of different sizes from one camera.
    """
    joined = Needs()
    for needs in readers:
        for key, size in needs.cameras.items():
            if joined.cameras.get(key, size) != size:
                raise MismatchError([f"size of camera {key}: one reader needs {joined.cameras[key]}, another {size}"])
        joined = replace(
            joined,
            vectors={**joined.vectors, **needs.vectors},
            cameras={**joined.cameras, **needs.cameras},
            instruction=joined.instruction or needs.instruction,
        )
    return joined


def differences(needs: Needs, spec: EnvSpec) -> list[str]:
    """Return one line of text for each need that `spec` does not meet.

    If the reader was not made for this environment, the only line says so.
    """
    served, digests = needs.environments, spec.tasks or {spec.env_id: spec.digest}
    if served is not None and not digests.keys() <= served.keys():
        known = ", ".join(served) or "no environment"
        on_purpose = "to run it there on purpose, see docs/guides/own_environment.md"
        return [f"environment: policy serves {known}, this is {spec.env_id}; {on_purpose}"]
    lines = [
        f"digest of {env_id}: policy {served[env_id]}, environment {digest}"
        for env_id, digest in digests.items()
        if served is not None and served[env_id] != digest
    ]
    for key, layout in needs.vectors.items():
        theirs = spec.vectors.get(key)
        if theirs is None or theirs.features != layout.features:
            lines.append(f"{key}: policy {_layout_text(layout)}, environment {_layout_text(theirs)}")
    for key, size in needs.cameras.items():
        if key not in spec.cameras:
            there = ", ".join(spec.cameras) or "no camera"
            lines.append(f"camera {key!r}: policy needs it, environment has {there}")
        elif spec.cameras[key] not in (None, size):
            lines.append(f"image size of camera {key!r}: policy {size}, environment {spec.cameras[key]}")
    if needs.instruction and not spec.has_instructions:
        lines.append("instruction: policy reads one, environment gives none")
    return lines + _differences_of_facts(needs, spec)


def check_needs(needs: Needs, spec: EnvSpec) -> None:
    """Raise `MismatchError`, which names both sides, unless `spec` meets all `needs`."""
    found = differences(needs, spec)
    if found:
        raise MismatchError(found)


def _differences_of_facts(needs: Needs, spec: EnvSpec) -> list[str]:
    facts = {
        "render profile": (needs.render_profile, spec.render_profile),
        "action": (needs.action, spec.action.meaning),
        "control rate": (needs.control_hz, spec.control_hz),
        "max_episode_steps": (needs.max_episode_steps, spec.max_episode_steps),
    }
    return [
        f"{name}: policy {ours!r}, environment {theirs!r}"
        for name, (ours, theirs) in facts.items()
        if ours is not None and ours != theirs
    ]


def _check_times(control_hz: float | None, max_episode_steps: int | None) -> None:
    if control_hz is not None and not 0 < control_hz <= _MAX_CONTROL_HZ:
        raise SimScaleError(f"expected control_hz above 0 and at most {_MAX_CONTROL_HZ:.0f}, got {control_hz}")
    if max_episode_steps is not None and max_episode_steps < 1:
        raise SimScaleError(f"expected max_episode_steps of at least 1, got {max_episode_steps}")


def _layout_text(layout: Layout | None) -> str:
    return "none" if layout is None else str(layout)


def _from_version_1(contract: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a contract, as datasets and checkpoints of format version 1 store it, to the fields of `Needs`."""
    vectors = {"state": {"features": contract["state"], "privileged": False}}
    if contract.get("environment_state"):
        vectors["environment_state"] = {"features": contract["environment_state"], "privileged": True}
    return {
        "vectors": vectors,
        "cameras": dict.fromkeys(contract.get("cameras") or (), contract.get("image_size")),
        "instruction": contract.get("language", False),
        "environments": contract["environments"],
        "render_profile": contract.get("render_profile"),
        "action": contract.get("action"),
        "control_hz": contract["control_hz"],
        "max_episode_steps": contract.get("max_episode_steps"),
    }
