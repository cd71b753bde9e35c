"""What environments and policies agree on: vectors, cameras, actions, and the comparison of both sides.

An environment says what it offers (`EnvSpec`). A policy, an expert or a recorder says what it needs (`Needs`).
`differences` compares the two, and is the only place that does.

Knows arrays and JSON only: no simulator and no torch, so that a policy may import it on a robot.

Time convention, once for the whole project (control step t lasts 1 / control_hz seconds)::

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

Observation = dict[str, NDArray[Any]]
"""Key of a vector or of a camera to an array with one row per slot: vectors float32 (n, size), images uint8
(n, height, width, 3)."""

ImageSize = tuple[int, int]
"""Height and width [px]."""

# A damaged file may claim more than memory holds.
_MOST_NUMBERS = 1_000_000  # in one feature
_MOST_PIXELS = 4096  # in the height or width of an image


@dataclass(frozen=True)
class Feature:
    """One named quantity inside a vector."""

    name: str
    size: int
    unit: str
    frame: str

    def __post_init__(self) -> None:
        """Refuse a size that cannot be, as a damaged file may claim."""
        if not 0 < self.size < _MOST_NUMBERS:
            raise SimScaleError(f"expected a size of at least 1 for feature {self.name!r}, got {self.size}")


@dataclass(frozen=True)
class Layout:
    """Names, order, units and frames of the entries of one vector."""

    features: tuple[Feature, ...]
    privileged: bool = False
    """Whether the vector is simulator truth, which no robot knows. A policy that looks at images never receives it."""

    @property
    def size(self) -> int:
        """Length of the vector."""
        return sum(feature.size for feature in self.features)

    def __str__(self) -> str:
        """Return the names, sizes and units of the features for a message."""
        return " + ".join(f"{feature.name}({feature.size}) [{feature.unit}]" for feature in self.features)

    def slice(self, name: str) -> slice:
        """Return where feature `name` stands in the vector.

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
    """What the numbers of an action are."""

    names: tuple[str, ...]
    """Name of each number."""
    low: tuple[float, ...]
    """Smallest value of each number."""
    high: tuple[float, ...]
    """Largest value of each number."""
    meaning: str
    """What an action does, in words, with units and frames."""
    idle: Literal["zero", "repeat"] = "zero"
    """What is sent while no new action is there: zeros (displacements), or the last action again (absolute targets)."""

    @property
    def size(self) -> int:
        """Number of numbers, A."""
        return len(self.names)


@dataclass(frozen=True, kw_only=True)
class EnvSpec:
    """All that an environment offers."""

    env_id: str
    """Full id with its version, for example "SimScale/Reach-v0"."""
    digest: str
    """Digest of what is simulated. It changes when the same actions could lead to something else."""
    vectors: Mapping[str, Layout]
    """Observation key to the layout of that vector."""
    cameras: Mapping[str, ImageSize | None] = field(default_factory=dict)
    """Observation key of each camera to the size of its images; None where the reader chooses the size."""
    render_profile: str | None = None
    """Digest of how observations are drawn; None where it is unknown or nothing is drawn."""
    film_cameras: tuple[str, ...] = ()
    """Cameras for films, the default first; empty if the environment cannot be filmed."""
    action: ActionSpec
    """What an action is."""
    control_hz: float
    """Control steps per second."""
    max_episode_steps: int
    """Time limit of an episode in control steps."""
    success: str
    """When an episode is a success, in words."""
    has_instructions: bool = False
    """Whether episodes come with an instruction in words."""
    repeats: Literal["exact", "no", "unknown"] = "exact"
    """Whether the same start and actions give the same bytes again on one machine."""
    distinct_starts: int | None = None
    """How many different starts there are; None if every seed is another one."""

    def needs(self, *vectors: str, cameras: Mapping[str, ImageSize] | None = None, instruction: bool = False) -> Needs:
        """Return the needs of a reader of these `vectors` and `cameras` of this environment.

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
            environments={self.env_id: self.digest},
            render_profile=self.render_profile if cameras else None,
            action=self.action.meaning,
            control_hz=self.control_hz,
            max_episode_steps=self.max_episode_steps,
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
    """What one reader of observations needs of an environment: a policy, an expert, or a recorder.

    The fields from `environments` on say for what the reader was made. None means that any value will do.
    """

    vectors: Mapping[str, Layout] = field(default_factory=dict)
    """Observation key to layout, in the order in which models join the vectors."""
    cameras: Mapping[str, ImageSize] = field(default_factory=dict)
    """Observation key of each camera to the size of its images, in the order in which models join them."""
    instruction: bool = False
    """Whether the instruction is read."""
    history: int = 1
    """How many consecutive observations one look takes, the newest last. With more than 1, arrays have the shape
    (n, history, ...)."""
    environments: Mapping[str, str] | None = None
    """Environment id to digest."""
    render_profile: str | None = None
    """Digest of how images are drawn."""
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

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be, as a damaged file may claim."""
        if self.history < 1:
            raise SimScaleError(f"expected a history of at least 1, got {self.history}")
        for camera, size in self.cameras.items():
            if not all(0 < length <= _MOST_PIXELS for length in size):
                most = f"1 to {_MOST_PIXELS} px"
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
    """Return what an environment must give so that all `readers` find their keys.

    Only vectors, cameras and the instruction are joined.

    Raises:
        MismatchError: If two readers want one camera in two sizes.
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
    """Return one readable line for each way in which `spec` does not give what `needs` ask for."""
    if needs.environments is not None and spec.env_id not in needs.environments:
        served = ", ".join(needs.environments) or "no environment"
        return [f"environment: policy serves {served}, this is {spec.env_id}"]
    lines = []
    if needs.environments is not None and needs.environments[spec.env_id] != spec.digest:
        ours = needs.environments[spec.env_id]
        lines.append(f"digest of {spec.env_id}: policy {ours}, environment {spec.digest}")
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
    """Raise `MismatchError`, naming both sides, unless `spec` gives what `needs` ask for."""
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


def _layout_text(layout: Layout | None) -> str:
    return "none" if layout is None else str(layout)


def _from_version_1(contract: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `Needs` for a contract as datasets and checkpoints of format version 1 hold it."""
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
