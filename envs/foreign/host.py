"""A host: runs environments in this interpreter, for a process that runs in another one.

A stand-alone script for Python 3.8 and newer. It needs NumPy and what it hosts. `simscaleai.hosting.process` starts it
with the numbers of two sockets: one for messages, and one that closes when the other process ends. Each message is a
call, `{"call": NAME, …}`, and gets one answer; an answer with "error" says that the call failed. The calls of every
control step are signals, which are answered by the same signal: their arguments and results lie in shared arrays.
"""

from __future__ import annotations

import importlib
import inspect
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

if TYPE_CHECKING:
    Arrays = Mapping[str, np.ndarray]
    Answer = tuple[dict[str, Any], dict[str, np.ndarray]]

EXPERT = "expert"
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "simscaleai" / "hosting"))
answering: Any = importlib.import_module("answering")
del sys.path[0]
gym_slot: Any = answering.load("gym_slot", HERE)
hosted_source: Any = answering.load("hosted_source", HERE)
identity: Any = answering.load("identity", HERE.parents[1] / "simscaleai" / "extensions")


class Host:
    """Answers calls: the methods without an underscore."""

    def __init__(self) -> None:
        self._source: Any = None
        self._slots: dict[int, Any] = {}
        self._shared: dict[str, np.ndarray] = {}
        self._tasks: dict[int, str | None] = {}
        self._policies: dict[int, Any] = {}
        self._busy: int | None = None
        """Slot whose environment is called."""

    def answer(self, call: Any) -> Answer | None:
        """Carry out a message or a signal; an exception becomes an answer, too."""
        self._busy = None
        answer: Answer | None = answering.carry_out(self, call)
        return answer

    def failed(self, error: BaseException) -> dict[str, Any]:
        """Return the answer of a call that raised `error`."""
        kind = "fault"
        if isinstance(error, gym_slot.SetUpError):
            kind = "mistake"
        elif isinstance(error, answering.PolicyError):
            kind = "policy"
        elif self._busy is not None:  # the next episode there begins in a new environment
            self._slots.pop(self._busy, None)
        known = isinstance(error, (gym_slot.SetUpError, gym_slot.EpisodeError, answering.PolicyError))
        return {"error": kind, "text": str(error) if known else answering.reason_text(error), "slot": self._busy}

    def open(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Say what is hosted, and return a description of each task, and the versions of the packages."""
        self._source = hosted_source.Source(body)
        descriptions = [hosted_source.describe(self._source, task) for task in self._source.tasks]
        return {"descriptions": descriptions, "versions": self._source.versions()}, {}

    def make(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Fix how episodes end; return where the host runs, and the largest size of a state."""
        self._terminate, self._limit = bool(body["terminate_on_success"]), body["limit"]
        libraries = {**self._source.versions(), "numpy": np.__version__}
        where = {"python": platform.python_version(), "libraries": libraries}
        return {**where, "most_state_bytes": self._source.most_state_bytes}, {}

    def share(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Map the arrays for the calls `signals`, which get the slots that they concern."""
        self._shared = answering.map_shared(body)
        self._signals = [getattr(self, name) for name in body["signals"]]
        self._vectors, self._cameras, self._drawn = body["vectors"], body["cameras"], body["drawn"]
        return {}, {}

    def signal(self, code: int, number: int) -> None:
        """Carry out one of the calls `signals` for the first `number` of the shared `slots`."""
        self._signals[code](self._shared["slots"][:number].tolist())

    def reset(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Begin an episode in each of `slots`."""
        infos = [self._reset(*each) for each in zip(body["slots"], body["seeds"], body["options"])]
        words = [info.get("instruction") for info in infos]
        return {"instructions": [each if isinstance(each, str) else "" for each in words]}, {}

    def _reset(self, slot: int, seed: int, options: dict[str, Any]) -> Mapping[str, Any]:
        self._busy, task = slot, options.pop("task", self._source.tasks[0])
        if slot in self._slots and self._tasks[slot] != task:
            self._slots.pop(slot).env.close()
        if slot not in self._slots:
            env, memory = self._source.make(task), self._shared["state"][slot]
            self._tasks[slot] = task
            self._slots[slot] = self._source.slot(
                env, terminate_on_success=self._terminate, limit=self._limit, memory=memory
            )
        info: Mapping[str, Any] = self._slots[slot].reset(seed, options)
        self._show(slot)
        return info

    def step(self, slots: Sequence[int]) -> None:
        """Advance `slots` by one control step with the rows of the shared array `actions`."""
        shared = self._shared
        for row, slot in enumerate(slots):
            self._busy = slot
            done = self._slots[slot].step(shared["actions"][row])
            shared["reward"][row], shared["executed"][row] = done.reward, done.executed
            shared["ended"][row] = done.terminated, done.truncated, done.success
            shared["failure"][row] = gym_slot.FAILURES.index(done.failure)
            self._show(slot)

    def _show(self, slot: int) -> None:
        """Copy the newest observation of `slot` to the shared arrays."""
        shared, observed = self._shared, self._slots[slot].observed
        for key in self._vectors:
            shared["vector." + key][slot] = observed.vectors[key]
        shared["length"][slot] = observed.state_bytes
        for camera in self._cameras:
            shared["place." + camera][slot] = observed.places[camera]

    def draw(self, slots: Sequence[int]) -> None:
        """Draw the images of all cameras that are not part of the observation in `slots`."""
        for slot in slots:
            for camera, size in self._drawn.items():
                self._shared["image." + camera][slot] = self._image(slot, camera, tuple(size))

    def _image(self, slot: int, camera: str, size: tuple[int, int]) -> np.ndarray:
        self._busy, held = slot, self._slots[slot]
        if camera in held.observed.places:
            return held.image(camera)  # type: ignore[no-any-return]
        image = np.asarray(held.env.image(camera, size), dtype=np.uint8)
        if image.shape != (*size, 3):
            raise gym_slot.EpisodeError(f"expected an image of shape {(*size, 3)}, {camera!r} gave {image.shape}")
        return image

    def frame(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Return a picture for a film, of any size."""
        slot, camera = body["slot"], body["camera"]
        self._busy = slot
        if camera == hosted_source.FILM_CAMERA:
            return {}, {"frame": self._slots[slot].render()}
        return {}, {"frame": self._image(slot, camera, tuple(body["size"]))}

    # A policy of this interpreter

    def policy(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Say which policy acts: "module:attribute", or "expert" for that of the suite. Return a digest of its source.

        The digest of an expert is empty: the versions of the packages stand for it.
        """
        expert = body["policy"] == EXPERT
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
        self._make_policy = self._source.expert if expert else hosted_source.attribute(body["policy"])
        self._is_expert = expert
        self._policies.clear()
        return {"source": "" if expert else identity.code_identity(body["policy"].partition(":")[0])}, {}

    def begin(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Begin an episode of the policy in each of `slots`."""
        for slot, seed, words in zip(body["slots"], body["seeds"], body["instructions"]):
            answering.ask_policy(self._begin, slot, seed, words)
        return {}, {}

    def _begin(self, slot: int, seed: int, words: str) -> None:
        self._policies[slot] = self._make_policy(self._tasks[slot]) if self._is_expert else self._make_policy()
        if hasattr(self._policies[slot], "act") and hasattr(self._policies[slot], "reset"):
            self._policies[slot].reset(seed, words)

    def act(self, slots: Sequence[int]) -> None:
        """Write the action of the policy in each of `slots`, given the observation as the environment gave it."""
        for row, slot in enumerate(slots):
            self._shared["actions"][row] = answering.ask_policy(self._act, slot)

    def _act(self, slot: int) -> np.ndarray:
        policy = self._policies[slot]
        names = [name for name in ("act", "get_action", "predict") if hasattr(policy, name)]
        method = getattr(policy, names[0]) if names else policy
        certain = {}
        if names[:1] == ["predict"] and "deterministic" in inspect.signature(method).parameters:
            certain["deterministic"] = True  # otherwise Stable-Baselines3 draws at random
        action = method(self._slots[slot].env.raw_observation, **certain)
        if isinstance(action, tuple):  # action and memory, as Stable-Baselines3 returns them
            action = action[0]
        array, size = np.asarray(action, dtype=np.float32).reshape(-1), self._shared["actions"].shape[1]
        if array.size != size:
            raise ValueError(f"expected an action of {size} numbers, got {array.size}")
        return array


if __name__ == "__main__":
    for name in ("answering", "gym_slot", "gym_spaces", "hosted_source", "identity", "wire"):
        del sys.modules[name]  # modules of others may have these names
    answering.answer_calls(Host(), sys.argv[1:])
