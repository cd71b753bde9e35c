"""A grammar of instructions to move one cube to the goal: synonyms, polite forms, and several orders of the sentence.

The grammar contains the eight wordings of the tasks. It cannot form the wordings that are held out of training
(`HELD_OUT_TEMPLATES`), and has no sentence of their structure: "lift … and carry it", "i want … to be",
"get … over to", a sentence without a verb, or "… is the place of …".
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product

import numpy as np

MOST_CHARACTERS = 64
"""Largest length of an instruction, the default of the VLA's language encoder."""

_LONGEST_COLOUR = "orange"

_OBJECTS = tuple(f"the {{colour}} {noun}" for noun in ("cube", "block", "box", "piece", "object"))
_PLACES = (
    *("the goal", "the yellow goal", "the disc", "the yellow disc", "the circle"),
    *("the yellow circle", "the spot", "the yellow spot", "the round goal"),
)
_PUT = tuple(product(("put", "place", "set", "lay", "rest", "leave", "position"), ("on", "onto")))
_MOVE = tuple((verb, "to") for verb in ("move", "bring", "take", "carry", "transfer", "deliver", "shift"))
_GRASP = ("pick up", "grab", "take", "grasp", "fetch", "find", "grip", "take hold of")
_RELEASE = (
    *("put it on", "place it on", "set it down on", "put it down on", "lay it on", "leave it on"),
    *("place it onto", "move it to", "bring it to", "take it to"),
)
_BELONGS = (
    *("goes on", "goes to", "goes onto", "belongs on", "should go on", "should go to", "must go on", "must go to"),
    *("has to go on", "needs to go to", "should end up on", "must end up on", "is supposed to go on"),
)
_MODALS = ("should be", "must be", "has to be", "needs to be", "is to be")
_MOVED = ("put on", "placed on", "set down on", "moved to", "brought to", "taken to", "laid on")
_REQUESTS = (
    *("please", "could you", "can you", "would you", "could you please", "can you please", "would you please", "now"),
    *("go ahead and", "i would like you to", "i need you to", "your task is to", "your job is to", "you should"),
    *("you have to", "i ask you to", "next, ", "robot, "),
)
_ENDINGS = (", please", " now", ", if you can", ", thank you", " for me")
_ENSURE = ("make sure", "make sure that", "see to it that")
_RESULTS = ("ends up on", "gets to", "lies on", "arrives at", "comes to rest on", "stands on")
_RECEIVES = ("needs", "should hold", "should get", "must receive", "should receive", "has to hold", "waits for")


@cache
def sentences() -> tuple[tuple[str, ...], ...]:
    """Return all instructions, with `{colour}` for the colour of the cube, grouped by the form of the sentence."""
    commands, tasks = tuple(_commands()), tuple(_two_commands())
    forms = (
        commands,
        tasks,
        _joined(_OBJECTS, _BELONGS, _PLACES),
        _joined(_REQUESTS, commands),
        _joined(_REQUESTS, tasks),
        tuple(command + ending for command, ending in product((*commands, *tasks), _ENDINGS)),
        _joined(_OBJECTS, _MODALS, _MOVED, _PLACES),
        _joined(_ENSURE, _OBJECTS, _RESULTS, _PLACES),
        _joined(_PLACES, _RECEIVES, _OBJECTS),
        _joined(("cover", "occupy"), _PLACES, ("with",), _OBJECTS),
    )
    return tuple(tuple(filter(_is_short, form)) for form in forms)


def draw_sentence(rng: np.random.Generator) -> str:
    """Draw an instruction, with `{colour}` for the colour: first a form, then a sentence of it, both uniformly."""
    forms = sentences()
    form = forms[int(rng.integers(len(forms)))]
    return form[int(rng.integers(len(form)))]


def _commands() -> Iterator[str]:
    """Yield commands with one verb, such as "put the red cube on the goal"."""
    for verb_and_preposition, thing, place in product((*_PUT, *_MOVE), _OBJECTS, _PLACES):
        verb, preposition = verb_and_preposition
        yield f"{verb} {thing} {preposition} {place}"


def _two_commands() -> Iterator[str]:
    """Yield commands with two verbs, such as "pick up the red cube and place it on the goal"."""
    for grasp, thing, release, place in product(_GRASP, _OBJECTS, _RELEASE, _PLACES):
        if grasp != "take" or not release.startswith("take"):
            yield f"{grasp} {thing} and {release} {place}"


def _joined(*parts: tuple[str, ...]) -> tuple[str, ...]:
    """Return every combination of one text of each part, joined by single spaces."""
    return tuple(" ".join(chosen).replace("  ", " ") for chosen in product(*parts))


def _is_short(sentence: str) -> bool:
    return len(sentence.format(colour=_LONGEST_COLOUR)) <= MOST_CHARACTERS
