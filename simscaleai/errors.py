"""Errors of the whole project: a user's mistake, a mismatch, and faults of the infrastructure.

A `SimScaleError` is a user's mistake. Commands print it as one line without a traceback. `SlotFault` and
`PolicyUnavailable` are not mistakes of the user: a simulator or a policy server failed, and the episode runs again.
"""

from __future__ import annotations

import copyreg
import difflib
from collections.abc import Iterable, Sequence
from typing import Any


class SimScaleError(ValueError):
    """A user's mistake. The text says what was expected, what was given, and what to do."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the error reach another process, with its text, although constructors of subclasses build theirs."""
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]


class UnknownNameError(SimScaleError):
    """A name that does not exist. The text proposes the nearest one."""

    def __init__(self, kind: str, name: object = None, available: Iterable[object] | None = None) -> None:
        """Build the message. With one argument, this is the message, as when `AsyncVectorEnv` raises an error again.

        Args:
            kind: Kind of thing that has the name, for example "model".
            name: The unknown name.
            available: The names that exist.
        """
        if available is None:
            super().__init__(str(kind))
            return
        names = [str(choice) for choice in available]
        near = difflib.get_close_matches(str(name), names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"Unknown {kind} {name!r}.{hint} Choose from: {', '.join(names)}.")


class MismatchError(SimScaleError):
    """A policy needs something that the environment does not offer."""

    def __init__(self, differences: Sequence[str]) -> None:
        """Build the message from `differences`, one line each."""
        self.differences = list(differences)
        """The differences, one line each. Every line names both sides."""
        listing = "\n".join(f"  - {line}" for line in self.differences)
        super().__init__(
            f"the policy does not fit the environment:\n{listing}\n"
            "Evaluate it in the environment that it was trained for, or train it anew."
        )


def exception_text(error: BaseException) -> str:
    """Return type and message of an exception of foreign code, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


class ConformanceError(SimScaleError):
    """An environment or a policy breaks its protocol. `check_slots` and `check_policy` raise this error."""


class SlotFault(Exception):
    """The simulator of some slots failed. The episodes in these slots run again, and the policy is not blamed."""

    def __init__(self, slots: Sequence[int], reason: str) -> None:
        """Build the message.

        Args:
            slots: Slots whose episodes are lost.
            reason: What happened.
        """
        super().__init__(f"slots {list(slots)}: {reason}")
        self.slots = tuple(slots)
        """Slots whose episodes are lost."""
        self.reason = reason
        """What happened."""


class PolicyUnavailable(Exception):
    """The policy cannot answer now, for example because its server is down. The episodes run again."""
