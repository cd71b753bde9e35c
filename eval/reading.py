"""Reads run folders that may be damaged, or made by somebody who means no good.

What is read here has the types that its dataclasses say, and the keys that comparisons and reports show, or there is
one line that says what is wrong with which file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from eval.comparison import Run
from eval.results import EPISODES_FILE, RECORD_FILE, EpisodeResult, ResultsError, RunRecord

_Shape = dict[str, Any]
"""Key to the type of its value."""

_SHAPES: dict[str, _Shape] = {
    "config": {
        "model": str,
        "env": str,
        "checkpoint": str | None,
        "intervene": Sequence[str] | None,
        "terminate_on_success": bool | None,
    },
    "resolved": {"environment": str, "episodes": int},
    "source": {"commit": str | None, "dirty": bool},
    "contract": {"environments": Mapping[str, str]},
    "timing": {"started": str | None, "seconds": float | None, "episodes_per_second": float | None},
    "seed_overlap": {"seeds": Sequence[int], "trained_on": Mapping[str, int]},
    "sequential": {
        "rule": str,
        "threshold": float,
        "vs": Mapping[str, str] | None,
        "limit": int,
        "episodes": int,
        "decided": bool,
        "saved": int,
        "verdict": str | None,
        "difference": float | None,
        "difference_sequence_95": Sequence[float] | None,
        "inverse_e_value": float | None,
    },
}
"""Part of the record to what a report shows of it."""

_RECEIPT: _Shape = {
    "episode_index": int,
    "seed": int,
    "instruction": str,
    "digest": str,
    "images": Mapping[str, str],
    "state": Sequence[Mapping[str, Any]] | None,
    "environment_state": Sequence[Mapping[str, Any]] | None,
    "actions": Sequence[Sequence[Any]] | None,
}

_FEATURE: _Shape = {"name": str, "unit": str, "frame": str, "values": Sequence[Any]}


def read_run(folder: Path) -> Run:
    """Read the run in `folder`, sure that everything that a report shows is there and is of its type.

    Raises:
        ResultsError: If it holds no run, or a damaged one.
    """
    try:
        run = Run.read(folder)
    except ResultsError:
        raise
    except (AttributeError, TypeError, ValueError) as error:
        raise ResultsError(f"{folder} holds no run that can be read ({error}); restore it or run it again") from error
    _check_record(run.record, folder / RECORD_FILE)
    for result in run.results:
        _check_episode(result, folder / EPISODES_FILE)
    return run


def _check_record(record: RunRecord, path: Path) -> None:
    try:
        json.dumps(vars(record), allow_nan=False)
    except ValueError as error:
        raise ResultsError(f"{path} holds a number that is not finite; restore it or run it again") from error
    _check(vars(record), get_type_hints(RunRecord), path, "")
    for part, shape in _SHAPES.items():
        values = getattr(record, part)
        if values is not None:
            _check(values, shape, path, f"{part}.")
    if record.resolved["episodes"] < 0:
        raise ResultsError(f"{path} plans a negative number of episodes; restore it or run it again")
    if record.seed_overlap is not None:
        _check(record.seed_overlap["trained_on"], dict.fromkeys(("first", "last", "count"), int), path, "trained_on.")
    for receipt in record.receipts:
        _check(receipt, _RECEIPT, path, "receipts.")
        for feature in [*(receipt.get("state") or ()), *(receipt.get("environment_state") or ())]:
            _check(feature, _FEATURE, path, "receipts.features.")


def _check_episode(result: EpisodeResult, path: Path) -> None:
    _check(vars(result), get_type_hints(EpisodeResult), path, "")
    if min(result.seed, result.episode_index, result.steps) < 0:
        raise ResultsError(f"{path} has a negative seed, index or number of steps; restore it or run it again")


def _check(values: Mapping[str, Any], shape: _Shape, path: Path, prefix: str) -> None:
    for name, kind in shape.items():
        value = values.get(name)
        if not _fits(value, kind):
            shown = "nothing" if value is None else f"{value!r:.60}"
            text = f"{path}: expected {prefix}{name.rstrip('_')} of another type, got {shown}"
            raise ResultsError(f"{text}; restore it or run it again")


def _fits(value: object, kind: Any) -> bool:
    """Return whether `value`, read from JSON, is of the annotated type `kind`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, choice) for choice in arguments)
    if origin is Literal:
        return value in arguments
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(_fits(item, arguments[1]) for item in value.values())
    if origin is not None:  # a sequence
        return isinstance(value, list | tuple) and all(_fits(item, arguments[0]) for item in value)
    if kind is float:
        return isinstance(value, int | float) and isfinite(value)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
