"""A host: runs a policy of another library in this interpreter, for a process that runs in another one.

A stand-alone script for Python 3.8 and newer. It needs NumPy and what it hosts. `simscaleai.hosting.process` starts it
with the numbers of two sockets: one for messages, and one that closes when the other process ends. Each message is a
call, `{"call": NAME, …}`, and gets one answer; an answer with "error" says that the call failed. The call for actions
is a signal, which is answered by the same signal: observations and actions lie in shared arrays.
"""

from __future__ import annotations

import importlib
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

if TYPE_CHECKING:
    Arrays = Mapping[str, np.ndarray]
    Answer = tuple[dict[str, Any], dict[str, np.ndarray]]

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "simscaleai" / "hosting"))
answering: Any = importlib.import_module("answering")
del sys.path[0]
streams: Any = answering.load("streams", HERE / "libraries")


class Host:
    """Answers calls: the methods without an underscore."""

    def __init__(self) -> None:
        self._library: Any = None
        self._policy: Any = None
        self._streams = streams.Streams()

    def answer(self, call: Any) -> Answer | None:
        """Carry out a message or a signal; an exception becomes an answer, too."""
        answer: Answer | None = answering.carry_out(self, call)
        return answer

    def failed(self, error: BaseException) -> dict[str, Any]:
        """Return the answer of a call that raised `error`."""
        is_mistake, is_of_policy = isinstance(error, answering.Mistake), isinstance(error, answering.PolicyError)
        kind = "mistake" if is_mistake else "policy" if is_of_policy else "fault"
        text = str(error) if is_mistake or is_of_policy else answering.reason_text(error)
        return {"error": kind, "text": text}

    def open(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Open the library, and return the versions of Python and of its packages."""
        self._library = answering.load(body["library"] + "_policy", HERE / "libraries")
        versions = {name: answering.package_version(name) for name in self._library.PACKAGES}
        return {"python": platform.python_version(), "versions": versions}, {}

    def check(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Make a policy of the library, ask it, and return what was found."""
        return {"rows": self._library.check()}, {}

    def load(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Load the policy in the file or folder `path`, and return facts about it."""
        self._policy = self._library.load(body["path"], body["options"])
        return {"facts": self._policy.facts()}, {}

    def begin(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Begin an episode in each of `slots`."""
        for slot, seed, words in zip(body["slots"], body["seeds"], body["instructions"]):
            self._streams.begin(slot, seed)
            answering.ask_policy(self._policy.begin, slot, words)
        return {}, {}

    def share(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Map the arrays for signals: `slots`, `chunks`, and those of `inputs`. Row i is for the slot `slots[i]`."""
        shared = answering.map_shared(body)
        self._slots, self._chunks = shared["slots"], shared["chunks"]
        self._inputs = {name: shared[array] for name, array in body["inputs"].items()}
        return {}, {}

    def signal(self, code: int, number: int) -> None:
        """Write the chunks for the first `number` of the shared `slots`; the only signal has the code 0."""
        for row, slot in enumerate(self._slots[:number].tolist()):
            self._streams.use(slot)
            observation = {name: rows[row].copy() for name, rows in self._inputs.items()}  # a policy may keep it
            self._chunks[row] = answering.ask_policy(self._chunk, slot, observation)

    def _chunk(self, slot: int, observation: Arrays) -> np.ndarray:
        chunk: np.ndarray = self._policy.act(slot, observation)
        if chunk.shape != self._chunks.shape[1:]:
            raise ValueError(f"expected actions of shape {self._chunks.shape[1:]}, got {chunk.shape}")
        return chunk


if __name__ == "__main__":
    answering.answer_calls(Host(), sys.argv[1:])
