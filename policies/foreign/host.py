"""A host: runs a policy of another library in this interpreter, for a process that runs in another one.

A stand-alone script for Python 3.8 and newer. It needs NumPy and what it hosts. `simscaleai.hosting.process` starts it
with the numbers of two sockets: one for messages, and one that closes when the other process ends. Each message is a
call, `{"call": NAME, …}`, and gets one answer; an answer with "error" says that the call failed.
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

    def answer(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Carry out a call; an exception becomes an answer, too."""
        answer: Answer = answering.carry_out(self, body, arrays)
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

    def act(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Return a chunk of actions for each of `slots`, shape (n, H, A). Row i of each array belongs to slot i."""
        chunks = []
        for row, slot in enumerate(body["slots"]):
            self._streams.use(slot)
            observation = {key: rows[row] for key, rows in arrays.items()}
            chunks.append(answering.ask_policy(self._policy.act, slot, observation))
        return {}, {"chunks": np.stack(chunks)}


if __name__ == "__main__":
    answering.answer_calls(Host(), sys.argv[1:])
