"""`RemoteSlots`: environments in a process under another interpreter as the slots of one `SlotEnv`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.foreign.pictures import fitted
from envs.slots import Begun, EnvSpec, Needs, Observation, SlotFault, Slots, Start, Transition
from simscaleai.contract import TASK
from simscaleai.errors import SimScaleError
from simscaleai.hosting.live import Actor, announce, withdraw
from simscaleai.hosting.process import HostError, HostLost, HostProcess

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class EpisodeRules:
    """How the episodes of all slots end."""

    terminate_on_success: bool
    max_episode_steps: int | None
    """Time limit in control steps; None for that of the environment."""


class RemoteSlots(Actor):
    """N slots, each with an environment of its own, all in one process under another interpreter.

    The state of a slot is its newest observation and reward. An exception of an environment is a fault of its slot. A
    host that ends or is killed is a fault of all slots; a new one starts with the next episode.
    """

    def __init__(
        self, spec: EnvSpec, start: Callable[[], HostProcess], num_slots: int, needs: Needs, rules: EpisodeRules
    ) -> None:
        """Prepare `num_slots` slots.

        Args:
            spec: What the environment offers.
            start: Function that returns a host that has been told what to host.
            num_slots: Number of slots.
            needs: Vectors and cameras to observe.
            rules: How episodes end.
        """
        self.spec, self.num_slots = spec, num_slots
        self._start, self._needs, self._rules = start, needs, rules
        self._policy = ""
        self._host: HostProcess | None = None
        self._connect()
        self._vectors = {
            key: np.zeros((num_slots, layout.size), dtype=np.float32) for key, layout in spec.vectors.items()
        }
        self._states = [b""] * num_slots
        announce(spec.env_id, self)

    def reset(self, slots: Slots, starts: Sequence[Start]) -> list[Begun]:
        """Begin an episode in each of `slots`."""
        if self._host is None:
            self._reconnect()
        options = [_options(start) for start in starts]
        body, arrays = self._call(slots, "reset", seeds=[start.seed for start in starts], options=options)
        self._keep(slots, body, arrays)
        return [Begun(instruction=str(words)) for words in body["instructions"]]

    def observe(self, slots: Slots, with_images: NDArray[np.bool_]) -> Observation:
        """Return observations of `slots`; images of the slots that are not `with_images` are zero."""
        observation: Observation = {key: self._vectors[key][slots] for key in self._needs.vectors}
        for camera, size in self._needs.cameras.items():
            observation[camera] = np.zeros((len(slots), *size, 3), dtype=np.uint8)
        if self._needs.cameras and with_images.any():
            asked = slots[with_images]
            _, images = self._call(asked, "images")
            for camera, size in self._needs.cameras.items():
                observation[camera][with_images] = self._checked(images, camera, (len(asked), *size, 3), np.uint8)
        return observation

    def step(self, slots: Slots, actions: NDArray[np.float32]) -> Transition:
        """Advance `slots` by one control step with `actions`, shape (n, A)."""
        n = len(slots)
        body, arrays = self._call(slots, "step", {"actions": np.asarray(actions, dtype=np.float32)})
        ended = self._listed(body, "ended", (n, 3), np.bool_)
        transition = Transition(
            reward=self._listed(body, "reward", (n,), np.float64),
            terminated=ended[:, 0].copy(),
            truncated=ended[:, 1].copy(),
            success=ended[:, 2].copy(),
            executed=self._checked(arrays, "executed", (n, self.spec.action.size), np.float32),
            failure=[str(each) for each in body["failure"]],
            stage=[""] * n,
        )
        self._keep(slots, body, arrays)
        return transition

    def state(self, slots: Slots) -> list[bytes]:
        """Return the newest observation and reward of each slot as bytes."""
        return [self._states[slot] for slot in slots.tolist()]

    def frame(self, slot: int, camera: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return a picture of `camera`, with black edges to fit the height and width `size`."""
        _, arrays = self._ask("frame", slot=slot, camera=camera, size=list(size))
        picture = arrays.get("frame")
        if picture is None or picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise SlotFault([slot], "the host sent no picture")
        return picture if picture.shape[:2] == size else fitted(picture, size)

    def fingerprint(self) -> dict[str, Any]:
        """Return the interpreter and the versions of what simulates."""
        return {"hosted": self._where}

    def close(self) -> None:
        """End the host."""
        withdraw(self.spec.env_id, self)
        if self._host is not None:
            self._host.close()
            self._host = None

    # A policy in the same interpreter

    def load_policy(self, policy: str) -> None:
        """Let the host load the policy "module:attribute"."""
        self._policy = policy
        self._ask("policy", policy=policy)

    def begin_policy(self, slots: Slots, seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Begin an episode of the policy in each of `slots`."""
        self._call(slots, "begin", seeds=list(seeds), instructions=list(instructions))

    def act(self, slots: Slots) -> NDArray[np.float32]:
        """Return the action of the policy in each of `slots`, shape (n, A)."""
        _, arrays = self._call(slots, "act")
        return self._checked(arrays, "actions", (len(slots), self.spec.action.size), np.float32)

    # Calls

    def _connect(self) -> None:
        self._host = self._start()
        cameras = {camera: list(size) for camera, size in self._needs.cameras.items()}
        body, _ = self._ask(
            "make",
            vectors=list(self.spec.vectors),
            cameras=cameras,
            terminate_on_success=self._rules.terminate_on_success,
            limit=self._rules.max_episode_steps,
        )
        self._where = {"python": body["python"], "libraries": body["libraries"]}
        if self._policy:
            self.load_policy(self._policy)

    def _reconnect(self) -> None:
        try:
            self._connect()
        except HostLost as error:
            raise SlotFault(range(self.num_slots), str(error)) from None

    def _call(
        self, slots: Slots, name: str, arrays: Mapping[str, NDArray[Any]] | None = None, **values: Any
    ) -> tuple[dict[str, Any], Arrays]:
        return self._ask(name, arrays, slots=slots.tolist(), **values)

    def _ask(
        self, name: str, arrays: Mapping[str, NDArray[Any]] | None = None, **values: Any
    ) -> tuple[dict[str, Any], Arrays]:
        """Call the host; tell mistakes of the user from faults of an environment and from exceptions of a policy."""
        everyone = range(self.num_slots)
        if self._host is None:
            raise SlotFault(everyone, "the host process has ended")
        try:
            return self._host.call(name, arrays, **values)
        except HostLost as error:
            self._host = None
            raise SlotFault(everyone, str(error)) from None
        except HostError as error:
            if error.kind == "mistake":
                raise SimScaleError(f"{self.spec.env_id}: {error}") from None
            if error.kind == "policy":
                raise RuntimeError(str(error)) from None
            raise SlotFault(everyone if error.slot is None else [error.slot], str(error)) from None

    def _keep(self, slots: Slots, body: Mapping[str, Any], arrays: Arrays) -> None:
        """Keep the vectors and states that the host sent after a reset or a step."""
        n = len(slots)
        for key, rows in self._vectors.items():
            rows[slots] = self._checked(arrays, f"vector.{key}", (n, rows.shape[1]), np.float32)
        ends = np.cumsum(self._listed(body, "lengths", (n,), np.int64)).tolist()
        states: Any = self._checked(arrays, "states", (ends[-1],), np.uint8)
        for slot, begin, end in zip(slots.tolist(), [0, *ends], ends, strict=False):
            self._states[slot] = states[begin:end].tobytes()

    def _listed(
        self, body: Mapping[str, Any], name: str, shape: tuple[int, ...], dtype: type[np.generic]
    ) -> NDArray[Any]:
        """Return the numbers `name` of an answer as an array, after a check of their number."""
        try:
            array = np.array(body[name], dtype=dtype)
        except (KeyError, TypeError, ValueError, OverflowError):
            array = np.empty(0, dtype=dtype)
        return self._checked({name: array}, name, shape, dtype)

    def _checked(self, arrays: Arrays, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
        """Return the array `name` of an answer, after a check of its shape and dtype."""
        array = arrays.get(name)
        if array is None or array.shape != shape or array.dtype != dtype:
            got = "none" if array is None else f"{array.dtype} of shape {array.shape}"
            text = f"expected {name} as {np.dtype(dtype)} of shape {shape} from the host, got {got}"
            raise SlotFault(range(self.num_slots), text)
        return array


def _options(start: Start) -> dict[str, Any]:
    """Return the options of an episode; the host knows a task by its name within the suite."""
    options = dict(start.options)
    if TASK in options:
        options[TASK] = options[TASK].partition("/")[2]
    return options
