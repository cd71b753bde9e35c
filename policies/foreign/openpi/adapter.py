"""Adapters: TOML files that say which observation of an environment a policy server gets under which key.

An adapter also says which actions the server sends, and how many of a chunk to execute. Some ship with the project, in
the folder `adapters`; a user writes others::

    n_action_steps = 5                    # actions of a chunk to execute; all, if left out
    prompt = "prompt"                     # key of the instruction; no instruction is sent, if left out

    [[images]]
    key = "observation/image"             # key in the request
    camera = "front"                      # camera of the environment
    size = [224, 224]                     # height and width of what is sent [px]; other shapes are padded with black

    [[vectors]]
    key = "observation/state"
    parts = [                             # joined in this order
        { vector = "state", entries = ["ee_position", "gripper_opening"] },
        { vector = "goal" },
    ]

    [action]
    size = 7                              # numbers per action that the server sends
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from simscaleai.contract import MAX_IMAGE_SIDE
from simscaleai.errors import SimScaleError, UnknownNameError
from simscaleai.json_data import read_checked

_FOLDER = Path(__file__).parent / "adapters"

Conversion = Literal["none", "axis_angle_of_xyzw", "axis_angle_of_wxyz"]
"""How a part of a vector is converted: a quaternion in one of the two orders to an axis times an angle [rad]."""


@dataclass(frozen=True, kw_only=True)
class ImageEntry:
    """One image of a request."""

    key: str
    """Key in the request."""
    camera: str
    """Camera of the environment."""
    size: tuple[int, int]
    """Height and width of what is sent [px]. An image of another shape is shrunk or enlarged, and padded with black."""
    drawn: tuple[int, int] | None = None
    """Height and width in which the environment draws the image [px]; by default `size`, if it can choose."""
    rotated: bool = False
    """Whether the image is turned by 180 degrees."""
    channels_first: bool = False
    """Whether the image is sent as (3, height, width) instead of (height, width, 3)."""
    group: str = ""
    """Key of the map in the request that holds the image; "" for the request itself."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a vector of a request."""

    vector: str
    """Vector of the environment."""
    entries: tuple[str, ...] = ()
    """Names of features or entries, joined in this order; by default the whole vector."""
    convert: Conversion = "none"
    """What becomes of the part."""


@dataclass(frozen=True, kw_only=True)
class VectorEntry:
    """One vector of a request."""

    key: str
    """Key in the request."""
    parts: tuple[Part, ...]
    """What the vector is joined of."""
    group: str = ""
    """Key of the map in the request that holds the vector; "" for the request itself."""


@dataclass(frozen=True, kw_only=True)
class Gripper:
    """How the entry of an action that moves the gripper is converted."""

    entry: int
    """Index of the entry in the action of the environment, from 0."""
    sign: Literal[1, -1] = 1
    """Factor of the entry, if no threshold is given."""
    threshold: float | None = None
    """Value at which the entry, as the server sends it, is divided in `below` and `above`."""
    below: float = -1.0
    """What the environment gets for a value up to the threshold."""
    above: float = 1.0
    """What the environment gets for a value above the threshold."""


@dataclass(frozen=True, kw_only=True)
class ActionEntry:
    """The actions in a reply."""

    key: str = "actions"
    """Key in the reply."""
    size: int
    """Numbers per action that the server sends, D."""
    first: int = 0
    """Index of the first of these numbers that the environment gets."""
    count: int | None = None
    """How many numbers the environment gets; None for the rest."""
    scale: tuple[float, ...] = ()
    """Factor of each number that the environment gets, or one factor for all of them."""
    gripper: Gripper | None = None
    """What becomes of the gripper; None if nothing does."""

    @property
    def taken(self) -> int:
        """How many numbers the environment gets, A."""
        return self.size - self.first if self.count is None else self.count


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """What goes where between an environment and a policy server."""

    summary: str = ""
    """What the adapter is for, in one sentence."""
    images: tuple[ImageEntry, ...] = ()
    vectors: tuple[VectorEntry, ...] = ()
    prompt: str | None = None
    """Key of the instruction in the request; None if none is sent."""
    session: str | None = None
    """Key of a text that names the episode; None if none is sent."""
    action: ActionEntry
    n_action_steps: int | None = None
    """Number of actions of a chunk to execute before the server is asked again; None for all."""

    @property
    def digest(self) -> str:
        """SHA-256 of what the adapter says, without its summary."""
        data = {name: value for name, value in asdict(self).items() if name != "summary"}
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def adapter_names() -> list[str]:
    """Return the names of the adapters that ship with the project."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def read_adapter(name: str) -> Adapter:
    """Return the adapter `name`: one that ships with the project, or a TOML file.

    Raises:
        UnknownNameError: If there is no such adapter, or the file has an entry that adapters do not have.
        SimScaleError: If the file cannot be read, or an entry has another type or is missing.
    """
    path = _FOLDER / f"{name}.toml" if name in adapter_names() else Path(name)
    if not (name.endswith(".toml") or path.parent == _FOLDER):
        raise UnknownNameError("adapter", name, [*adapter_names(), "FILE.toml"])
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SimScaleError(f"cannot read the adapter {path}: {error.strerror}") from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise SimScaleError(f"expected TOML in the adapter {path}: {error}") from error
    try:
        return parse_adapter(data)
    except UnknownNameError as error:
        raise UnknownNameError(f"{error} See the adapter {path}.") from error
    except SimScaleError as error:
        raise SimScaleError(f"adapter {path}: {error}") from error


def parse_adapter(data: Mapping[str, Any]) -> Adapter:
    """Return the adapter that the contents of a TOML file describe.

    Raises:
        UnknownNameError: If an entry is unknown.
        SimScaleError: If an entry is missing, of another type, or out of range.
    """
    _check_names(Adapter, data, "the adapter")
    adapter = read_checked(Adapter, data)
    for problem in _problems(adapter):
        raise SimScaleError(problem)
    return adapter


def _check_names(kind: Any, data: Any, where: str) -> None:
    """Raise `UnknownNameError` if a table in `data`, which should be of type `kind`, has an unknown entry."""
    if isinstance(data, list):
        for each in data:
            _check_names(next(iter(get_args(kind)), None), each, where)
    elif isinstance(data, Mapping):
        cls = next((each for each in (kind, *get_args(kind)) if is_dataclass(each)), None)
        kinds = get_type_hints(cls) if cls else {}
        for name, value in data.items():
            if cls and name not in kinds:
                raise UnknownNameError(f"entry of {where}", name, kinds)
            _check_names(kinds.get(name), value, name)


def _problems(adapter: Adapter) -> Iterator[str]:
    """Yield what is impossible in `adapter`, one line each."""
    keys = [(each.group, each.key) for each in adapter.images] + [(each.group, each.key) for each in adapter.vectors]
    keys += [("", key) for key in (adapter.prompt, adapter.session) if key is not None]
    if twice := [key for key in keys if keys.count(key) > 1]:
        yield f"expected different keys, got {twice[0][1]!r} twice"
    for image in adapter.images:
        for size in (image.size, image.drawn or image.size):
            if not all(0 < length <= MAX_IMAGE_SIDE for length in size):
                yield f"expected a height and width of 1 to {MAX_IMAGE_SIDE} px for {image.key!r}, got {list(size)}"
    if adapter.n_action_steps is not None and adapter.n_action_steps < 1:
        yield f"expected n_action_steps of at least 1, got {adapter.n_action_steps}"
    action, count = adapter.action, adapter.action.taken
    if not (action.first >= 0 < count and action.first + count <= action.size):
        yield f"expected first and count within the {action.size} numbers of an action, got {action.first} and {count}"
    if len(action.scale) not in (0, 1, count):
        yield f"expected a scale for one or all of {count} numbers of an action, got {len(action.scale)}"
    if action.gripper is not None and not 0 <= action.gripper.entry < count:
        yield f"expected the gripper among entries 0 to {count - 1} of an action, got {action.gripper.entry}"
