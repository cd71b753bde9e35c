"""`RemoteSlots`: environments in a process under another interpreter as the slots of one `SlotEnv`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from envs.foreign.gym_slot import FAILURES
from envs.foreign.gym_spaces import image_in
from envs.foreign.pictures import fitted
from envs.slots import Begun, EnvSpec, Needs, Observation, SlotFault, Slots, Start, Transition
from simscaleai.contract import TASK
from simscaleai.errors import SimScaleError
from simscaleai.hosting.live import Actor, announce, withdraw
from simscaleai.hosting.process import HostError, HostLost, HostProcess

Arrays = dict[str, NDArray[Any]]

Result = TypeVar("Result")

_SIGNALS = ("step", "draw", "act")
"""Calls of the host at every control step. They are signals; the code of each is its place here."""


@dataclass(frozen=True, kw_only=True)
class EpisodeRules:
    """How the episodes of all slots end."""

    terminate_on_success: bool
    max_episode_steps: int | None
    """Time limit in control steps; None for that of the environment."""


class RemoteSlots(Actor):
    """N slots, each with an environment of its own, all in one process under another interpreter.

    The state of a slot is its newest observation and reward. An exception of an environment is a fault of its slot. A
    host that ends or is killed is a fault of all slots; a new one starts with the next episode. The host writes
    observations into arrays that both processes share; what a caller gets is a copy.
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
        announce(spec.env_id, self)

    def reset(self, slots: Slots, starts: Sequence[Start]) -> list[Begun]:
        """Begin an episode in each of `slots`."""
        if self._host is None:
            self._reconnect()
        options = [_options(start) for start in starts]
        body, _ = self._call(slots, "reset", seeds=[start.seed for start in starts], options=options)
        return [Begun(instruction=str(words)) for words in body["instructions"]]

    def observe(self, slots: Slots, with_images: NDArray[np.bool_]) -> Observation:
        """Return observations of `slots`; images of the slots that are not `with_images` are zero."""
        vectors = {key: self._shared[f"vector.{key}"] for key in self._needs.vectors}
        observation: Observation = {key: rows.take(slots, axis=0) for key, rows in vectors.items()}
        if not self._needs.cameras:
            return observation
        looking = np.flatnonzero(with_images).tolist()
        if looking and self._drawn:
            self._signal(slots[looking], "draw")
        for camera, size in self._needs.cameras.items():
            images = observation[camera] = np.zeros((len(slots), *size, 3), dtype=np.uint8)
            for row in looking:
                images[row] = self._image(int(slots[row]), camera)
        return observation

    def _image(self, slot: int, camera: str) -> NDArray[np.uint8]:
        if camera in self._drawn:
            drawn: NDArray[np.uint8] = self._shared[f"image.{camera}"][slot]
            return drawn
        place: list[int] = self._shared[f"place.{camera}"][slot].tolist()
        try:
            image: NDArray[np.uint8] = image_in(self._shared["state"][slot], place)
        except ValueError as error:
            raise SlotFault([slot], f"the host sent no image ({error})") from None
        if image.shape != (*self._needs.cameras[camera], 3):
            raise SlotFault([slot], f"the host sent an image of shape {image.shape}")
        return image

    def step(self, slots: Slots, actions: NDArray[np.float32]) -> Transition:
        """Advance `slots` by one control step with `actions`, shape (n, A)."""
        n, shared = len(slots), self._shared
        shared["actions"][:n] = actions
        self._signal(slots, "step")
        ended = shared["ended"][:n].astype(bool)
        return Transition(
            reward=shared["reward"][:n].copy(),
            terminated=ended[:, 0],
            truncated=ended[:, 1],
            success=ended[:, 2],
            executed=shared["executed"][:n].copy(),
            failure=[FAILURES[each % len(FAILURES)] for each in shared["failure"][:n].tolist()],
            stage=[""] * n,
        )

    def state(self, slots: Slots) -> list[bytes]:
        """Return the newest observation and reward of each slot as bytes."""
        states, lengths = self._shared["state"], self._shared["length"].take(slots).tolist()
        return [states[slot, : max(length, 0)].tobytes() for slot, length in zip(slots.tolist(), lengths, strict=True)]

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
        self._signal(slots, "act")
        return self._shared["actions"][: len(slots)].copy()

    # Calls

    def _connect(self) -> None:
        self._host = self._start()
        body, _ = self._ask(
            "make", terminate_on_success=self._rules.terminate_on_success, limit=self._rules.max_episode_steps
        )
        self._where = {"python": body["python"], "libraries": body["libraries"]}
        self._shared = self._share(body["most_state_bytes"])
        if self._policy:
            self.load_policy(self._policy)

    def _share(self, most_state_bytes: int) -> Arrays:
        """Share arrays with the host: what comes first is for the slots of one call in turn, all else for each slot."""
        n, vectors, cameras = self.num_slots, self._needs.vectors, self._needs.cameras
        self._drawn = {camera: size for camera, size in cameras.items() if self.spec.cameras[camera] is None}
        observed = [camera for camera in cameras if camera not in self._drawn]
        layout: list[list[Any]] = [
            ["slots", "int64", [n]],
            ["actions", "float32", [n, self.spec.action.size]],
            ["executed", "float32", [n, self.spec.action.size]],
            ["reward", "float64", [n]],
            ["ended", "uint8", [n, 3]],
            ["failure", "uint8", [n]],
            ["length", "int64", [n]],
            ["state", "uint8", [n, most_state_bytes]],
            *([f"vector.{key}", "float32", [n, self.spec.vectors[key].size]] for key in vectors),
            *([f"place.{camera}", "int64", [n, 4]] for camera in observed),
            *([f"image.{camera}", "uint8", [n, *size, 3]] for camera, size in self._drawn.items()),
        ]
        return self._attempt(
            lambda host: host.share(
                layout, signals=_SIGNALS, vectors=list(vectors), cameras=observed, drawn=self._drawn
            )
        )

    def _reconnect(self) -> None:
        try:
            self._connect()
        except HostLost as error:
            raise SlotFault(range(self.num_slots), str(error)) from None

    def _call(self, slots: Slots, name: str, **values: Any) -> tuple[dict[str, Any], Arrays]:
        return self._ask(name, slots=slots.tolist(), **values)

    def _ask(self, name: str, **values: Any) -> tuple[dict[str, Any], Arrays]:
        return self._attempt(lambda host: host.call(name, **values))

    def _signal(self, slots: Slots, name: str) -> None:
        self._shared["slots"][: len(slots)] = slots
        self._attempt(lambda host: host.signal(_SIGNALS.index(name), len(slots)))

    def _attempt(self, call: Callable[[HostProcess], Result]) -> Result:
        """Call the host; tell mistakes of the user from faults of an environment and from exceptions of a policy."""
        everyone = range(self.num_slots)
        if self._host is None:
            raise SlotFault(everyone, "the host process has ended")
        try:
            return call(self._host)
        except HostLost as error:
            self._host = None
            raise SlotFault(everyone, str(error)) from None
        except HostError as error:
            if error.kind == "mistake":
                raise SimScaleError(f"{self.spec.env_id}: {error}") from None
            if error.kind == "policy":
                raise RuntimeError(str(error)) from None
            raise SlotFault(everyone if error.slot is None else [error.slot], str(error)) from None


def _options(start: Start) -> dict[str, Any]:
    """Return the options of an episode; the host knows a task by its name within the suite."""
    options = dict(start.options)
    if TASK in options:
        options[TASK] = options[TASK].partition("/")[2]
    return options
