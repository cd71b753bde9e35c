"""A probe of instructions in any language: typing errors, missing words, another order of the words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from eval.episodes.probe import Episode, Probe
from simscaleai.perturbation import Axis, axis_stream, magnitude_in

_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEXT_KEYS = {key: row[max(0, at - 1) : at] + row[at + 1 : at + 2] for row in _KEYS for at, key in enumerate(row)}
"""Letter to the letters beside it on a keyboard."""


def leave_out_words(instruction: str, percent: float, stream: np.random.Generator) -> str:
    """Return `instruction` without `percent` % of its words, rounded to whole words; "" for 100 %."""
    words = instruction.split()
    missing = set(stream.permutation(len(words))[: round(len(words) * percent / 100)].tolist())
    return " ".join(word for place, word in enumerate(words) if place not in missing)


def reorder_words(instruction: str, percent: float, stream: np.random.Generator) -> str:
    """Return `instruction` with `percent` % of its words in each other's places, rounded to whole words, at least 2."""
    words = instruction.split()
    count = min(len(words), max(2, round(len(words) * percent / 100)))
    places = stream.permutation(len(words))[:count]
    moved = dict(zip(places.tolist(), np.roll(places, 1).tolist(), strict=True))  # no word keeps its place
    return " ".join(words[moved.get(place, place)] for place in range(len(words)))


def mistype(instruction: str, errors: float, stream: np.random.Generator) -> str:
    """Return `instruction` with so many typing errors, rounded to a whole number, each at another letter.

    An error drops a letter, doubles it, or hits a key beside it.
    """
    letters = [place for place, letter in enumerate(instruction) if letter.isalpha()]
    typed = list(instruction)
    for place in stream.permutation(letters)[: round(errors)].tolist():
        typed[place] = _mistyped(instruction[place], stream)
    return "".join(typed)


def _mistyped(letter: str, stream: np.random.Generator) -> str:
    near = _NEXT_KEYS.get(letter.lower(), "")
    instead = near[int(stream.integers(len(near)))] if near else ""
    return ("", 2 * letter, instead)[int(stream.integers(3))]


def _axis(name: str, unit: str, magnitudes: tuple[float, float, float, float, float], limit: float, text: str) -> Axis:
    return Axis(
        name=f"words.{name}",
        unit=unit,
        magnitudes=magnitudes,
        changes="words",
        is_signed=False,
        summary=text,
        limit=limit,
    )


CHANGES: dict[Axis, Callable[[str, float, np.random.Generator], str]] = {
    _axis("missing", "%", (20, 40, 60, 80, 100), 100, "Leaves out this share of the words; at 100 %, all."): (
        leave_out_words
    ),
    _axis("order", "%", (20, 40, 60, 80, 100), 100, "Moves this share of the words to other places."): reorder_words,
    _axis("typos", "errors", (1, 2, 3, 5, 8), 1000, "Number of typing errors in the instruction."): mistype,
}
"""Axis to the function that changes an instruction by a magnitude, in the order in which they are applied."""


class Words(Probe):
    """Changes the instruction that the policy gets."""

    axes = tuple(CHANGES)

    def instruct(self, instruction: str, episode: Episode) -> str:
        """Return the changed instruction."""
        for axis, change in CHANGES.items():
            magnitude = magnitude_in(episode.perturbation, axis)
            if magnitude:
                instruction = change(instruction, magnitude, axis_stream(episode.seed, axis.name))
        return instruction
