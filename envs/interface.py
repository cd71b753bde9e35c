"""What environments and policies agree on: names, layouts, units, and the contract between them.

Owns every name that crosses the border between simulation and learning. Knows arrays and JSON only: no
simulator, no torch, so that a policy may import it on a robot.

Time convention, once for the whole project (control step t lasts 1 / CONTROL_HZ seconds)::

    observation_t --policy--> action_t --physics substeps--> observation_{t+1}, reward_t, success_t

All quantities are SI. Positions and axes are in the world frame: x away from the robot's base, y to its left,
z up, the origin at the base on the table top. Quaternions are (w, x, y, z).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

CONTROL_HZ = 20
"""Control steps per second, in every environment."""

METRES_PER_STEP = 0.025
"""End-effector displacement of one control step at action ±1 [m] (0.5 m/s)."""

ACTION_NAMES = ("delta_x", "delta_y", "delta_z", "gripper")
ACTION_DIM = len(ACTION_NAMES)
ACTION_MEANING = (
    f"end-effector displacement x, y, z in the world frame ({METRES_PER_STEP} m per step at 1), "
    "gripper (-1 close, +1 open)"
)

CAMERAS = ("front", "wrist")
"""Cameras of every scene, in the order in which they stack on the channels of `image`."""


def asset_path(name: str) -> Path:
    """Return the path of `assets/<name>`, in a checkout or in an installed wheel.

    Raises:
        SimScaleError: If the installation lacks it.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "assets", package.parent / "assets"):
        if (folder / name).exists():
            return folder / name
    raise SimScaleError(
        f"asset {name!r} is missing: expected it in {package.parent / 'assets'}, or simscaleai is to be installed anew"
    )


class SimScaleError(ValueError):
    """A user's mistake: the text says what was expected, what came, and what to do."""


class UnknownChoiceError(SimScaleError):
    """A value that is not among the possible ones; the text proposes the nearest."""

    def __init__(self, kind: str, value: object, choices: Iterable[object]) -> None:
        """Build the message: `kind` says what the value should be, `value` is what came."""
        names = [str(choice) for choice in choices]
        near = difflib.get_close_matches(str(value), names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"Unknown {kind} {value!r}.{hint} Choose from: {', '.join(names)}.")


class ContractError(SimScaleError):
    """A policy and an environment do not mean the same thing."""

    def __init__(self, differences: list[str]) -> None:
        """Build the message from `differences`, one line for each field that differs."""
        self.differences = differences
        listing = "\n".join(f"  - {line}" for line in differences)
        super().__init__(
            f"the policy's contract does not fit the environment:\n{listing}\n"
            "Evaluate it in the environment that it was trained for, or train it anew."
        )


_MOST_NUMBERS = 1_000_000
"""In one feature; a damaged file may claim more than memory holds."""


@dataclass(frozen=True)
class Feature:
    """One named quantity inside an observation vector."""

    name: str
    size: int
    unit: str
    frame: str


@dataclass(frozen=True)
class Layout:
    """Names, order, units and frames of the entries of one observation vector."""

    features: tuple[Feature, ...]

    @property
    def size(self) -> int:
        """Length of the vector."""
        return sum(feature.size for feature in self.features)

    @property
    def is_sound(self) -> bool:
        """Whether every feature has the types that it says, as one from a file may not."""
        return all(
            _all_are(str, (feature.name, feature.unit, feature.frame))
            and _all_are(int, (feature.size,))
            and 0 < feature.size < _MOST_NUMBERS
            for feature in self.features
        )

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

    def to_json(self) -> list[dict[str, Any]]:
        """Return the layout as plain JSON data."""
        return [dict(vars(feature)) for feature in self.features]

    @classmethod
    def from_json(cls, data: list[dict[str, Any]]) -> Layout:
        """Rebuild a layout from `to_json`."""
        return cls(tuple(Feature(**feature) for feature in data))


@dataclass(frozen=True, kw_only=True)
class Contract:
    """Everything that must be equal for a policy's numbers to mean something in an environment."""

    environments: Mapping[str, str]
    """Environment id to the digest of its compiled scene, for each environment served."""
    state: Layout
    """Layout of `state`, what a robot is given."""
    environment_state: Layout | None = None
    """Layout of `environment_state`, simulator truth; None where it is not used."""
    cameras: tuple[str, ...] = ()
    """Cameras whose images stack on the channels of `image`, in this order; empty without images."""
    image_size: tuple[int, int] | None = None
    """Height and width of each camera's image [px]; None without images."""
    render_profile: str | None = None
    """Digest of the observation render profile; None without images."""
    language: bool = False
    """Whether the policy reads the instruction."""
    action: str = ACTION_MEANING
    """What the four numbers of an action mean."""
    control_hz: int = CONTROL_HZ
    """Control steps per second."""
    max_episode_steps: int = 0
    """Time limit of an episode in control steps."""

    def to_json(self) -> dict[str, Any]:
        """Return the contract as plain JSON data."""
        data = dict(vars(self))
        data["environments"] = dict(self.environments)
        data["state"] = self.state.to_json()
        data["environment_state"] = self.environment_state and self.environment_state.to_json()
        data["cameras"] = list(self.cameras)
        data["image_size"] = self.image_size and list(self.image_size)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Contract:
        """Rebuild a contract from `to_json`.

        Raises:
            SimScaleError: If fields are missing or unknown.
        """
        values = dict(data)
        missing = {"environments", "state"} - values.keys()
        unknown = values.keys() - cls.__dataclass_fields__.keys()
        if missing or unknown:
            raise SimScaleError(
                f"a contract lacks {sorted(missing)} and has unknown {sorted(unknown)}; another version wrote it"
            )
        try:
            values["state"] = Layout.from_json(values["state"])
            if values.get("environment_state"):
                values["environment_state"] = Layout.from_json(values["environment_state"])
            values["cameras"] = tuple(values.get("cameras", ()))
            if values.get("image_size"):
                values["image_size"] = tuple(values["image_size"])
            contract = cls(**values)
            contract._check_types()
        except (TypeError, AttributeError) as error:
            raise SimScaleError(f"a stored contract is damaged: {error}") from error
        return contract

    def _check_types(self) -> None:
        """Raise `SimScaleError` if a field that a file gave is of another type than it says."""
        numbers = (self.control_hz, self.max_episode_steps, *(self.image_size or ()))
        fits = {
            "environments": isinstance(self.environments, Mapping) and _all_are(str, self.environments.values()),
            "vectors": all(layout.is_sound for layout in self.vectors.values()),
            "cameras": _all_are(str, self.cameras),
            "image_size": not self.cameras if self.image_size is None else len(self.image_size) == 2,
            "numbers": _all_are(int, numbers) and min(numbers) >= 0,
        }
        wrong = [name for name, fine in fits.items() if not fine]
        if wrong:
            raise SimScaleError(f"a stored contract is damaged: {', '.join(wrong)} of another type; save it anew")

    @property
    def vectors(self) -> dict[str, Layout]:
        """Layouts of the vector observations by key, in the order in which models join them."""
        layouts = {"state": self.state}
        if self.environment_state is not None:
            layouts["environment_state"] = self.environment_state
        return layouts


def _all_are(kind: type, values: Iterable[object]) -> bool:
    return all(isinstance(value, kind) and not isinstance(value, bool) for value in values)


def contract_differences(policy: Contract, environment: Contract) -> list[str]:
    """Return one readable line for each way in which `policy` does not fit `environment`.

    `environment` describes one environment built for the policy, so it has exactly one entry in `environments`.
    """
    ((env_id, digest),) = environment.environments.items()
    if env_id not in policy.environments:
        served = ", ".join(policy.environments)
        return [f"environment: policy serves {served}, this is {env_id}"]
    lines = []
    if policy.environments[env_id] != digest:
        lines.append(f"scene digest of {env_id}: policy {policy.environments[env_id]}, environment {digest}")
    for name in Contract.__dataclass_fields__:
        ours, theirs = getattr(policy, name), getattr(environment, name)
        if name not in ("environments", "language") and ours != theirs:
            lines.append(f"{name}: policy {_readable(ours)}, environment {_readable(theirs)}")
    return lines


def check_contract(policy: Contract, environment: Contract) -> None:
    """Raise `ContractError`, naming both sides, unless `policy` fits `environment`."""
    differences = contract_differences(policy, environment)
    if differences:
        raise ContractError(differences)


def _readable(value: object) -> str:
    if isinstance(value, Layout):
        return " + ".join(f"{feature.name}({feature.size}) [{feature.unit}]" for feature in value.features)
    return repr(value)


ObservationArrays = dict[str, NDArray[Any]]
"""Observation key to an array with one row per environment slot."""
