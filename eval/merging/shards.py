"""Checks that folders hold all shards of one run or of one collection, each of them complete and once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count, islice, pairwise
from pathlib import Path
from typing import Any

from eval.episodes.plan import Shard
from eval.episodes.results import ResultsError
from simscaleai.files import locked
from simscaleai.json_data import json_differences

_MOST_SHOWN = 10  # largest number of gaps in a message


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is compared of one shard."""

    folder: Path
    shard: Shard
    conditions: Mapping[str, Any]
    """What all shards have in common besides `of` and `block`, as plain JSON data."""
    indices: Sequence[int]
    """`episode_index` of each episode that has ended, increasing."""
    planned: int
    """Number of planned episodes of all shards."""
    has_ended: bool = True
    """Whether the process that ran the shard came to its end."""


@contextmanager
def locked_shards(folders: Sequence[Path]) -> Iterator[None]:
    """Hold the locks of all `folders`.

    Raises:
        ResultsError: If there are none, or one of them occurs twice.
        SimScaleError: If another process writes to one of them.
    """
    if not folders:
        raise ResultsError("expected the folders of all shards, got none")
    for first, second in pairwise(sorted(folders, key=lambda folder: folder.resolve())):
        if first.resolve() == second.resolve():  # its lock can be held only once
            raise ResultsError(f"expected each shard once, got {first} twice")
    with ExitStack() as locks:
        for folder in folders:
            locks.enter_context(locked(folder))
        yield


def check_parts(parts: Sequence[Part]) -> None:
    """Check that `parts` are all shards of one run or collection.

    Raises:
        ResultsError: If they are not. The text names what differs or is missing.
    """
    _check_one_run(parts)
    gaps = [*islice(_gaps(parts), _MOST_SHOWN + 1)]
    if gaps:
        shown = [*gaps[:_MOST_SHOWN], *["…"] * (len(gaps) > _MOST_SHOWN)]
        heading = "expected all shards, and all of their episodes; run what is missing with --shard and --resume"
        raise ResultsError("\n  ".join([heading, *shown]))


def _check_one_run(parts: Sequence[Part]) -> None:
    """Check that all shards were run under the conditions of the first, and none twice."""
    of_number: dict[int, Part] = {}
    expected = _conditions(parts[0])
    for part in parts:
        if differing := json_differences(expected, _conditions(part), verbs=("A has", "B has")):
            raise ResultsError(
                "\n  ".join([f"{parts[0].folder} (A) and {part.folder} (B) are not shards of one run", *differing])
            )
        other = of_number.setdefault(part.shard.number, part)
        if other is not part:
            raise ResultsError(f"{other.folder} and {part.folder} both hold shard {part.shard}; leave one of them out")


def _conditions(part: Part) -> dict[str, Any]:
    return {**part.conditions, "shard": {"of": part.shard.of, "block": part.shard.block}}


def _gaps(parts: Sequence[Part]) -> Iterator[str]:
    """Yield a line for each shard that is missing, incomplete, or holds episodes of others."""
    of = parts[0].shard.of
    numbers = {part.shard.number for part in parts}
    for part in parts:
        yield from _gaps_of(part)
    for number in range(1, of + 1) if len(numbers) < of else ():
        if number not in numbers:
            yield f"shard {number}/{of} is in none of the folders"


def _gaps_of(part: Part) -> Iterator[str]:
    shard, indices = part.shard, part.indices
    size, where = shard.size(part.planned), f"{part.folder}, shard {shard}"
    if foreign := [index for index in indices if index >= part.planned or not shard.has(index)]:
        yield f"{where}, holds episode {foreign[0]}, which does not belong to it"
    elif len(indices) < size:
        missing = next(own for own, has in zip(map(shard.index, count()), [*indices, None], strict=False) if own != has)
        yield f"{where}, has {len(indices)} of {size} episodes; the first that is missing is episode {missing}"
    elif not part.has_ended:
        yield f"{where}, has no summary, because it was killed at its end"
