"""Why two runs cannot be compared, and what besides the policies may explain a difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eval.runs.run import Run
from simscaleai.errors import SimScaleError


class NotComparableError(SimScaleError):
    """The runs have different episodes or conditions, or are not complete, so they cannot be compared."""

    def __init__(self, differences: list[str]) -> None:
        super().__init__("; ".join(differences))
        self.differences = differences
        """What differs, one line each."""


def warnings_about(a: Run, b: Run) -> Iterator[str]:
    """Yield what besides the policies may explain a difference of two runs, or weakens the pairing."""
    yield from _fingerprint_warnings(a.record.fingerprint, b.record.fingerprint)
    repeats = [run.record.environment.repeats for run in (a, b)]
    if repeats != ["exact", "exact"]:
        yield (
            f"the environment is not known to repeat itself exactly (A: {repeats[0]}, B: {repeats[1]}): the same seed "
            "may give another episode, so pairing by seed removes less variance; test and interval stay valid, "
            "but have less power"
        )


def _fingerprint_warnings(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key in sorted(a.keys() | b.keys()):
        of_a, of_b = a.get(key), b.get(key)
        if isinstance(of_a, Mapping) and isinstance(of_b, Mapping):
            yield from _fingerprint_warnings(of_a, of_b, f"{prefix}{key}.")
        elif of_a != of_b and not (key == "gl_renderer" and None in (of_a, of_b)):  # None: a policy without images
            yield f"fingerprint {prefix}{key} differs: A has {of_a}, B has {of_b}; this alone may change episodes"
