"""Plain JSON data: conversion, comparison, and checks of data of unknown origin."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from simscaleai.errors import SimScaleError

T = TypeVar("T")

DAMAGE = (KeyError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError)
"""Exceptions that reading JSON data raises if the data is damaged or has another structure."""


def damage_text(error: BaseException) -> str:
    """Return one line that says why reading data failed. `error` is the exception, for example one of `DAMAGE`."""
    text = " ".join(str(error).split())
    return text if isinstance(error, SimScaleError) else f"{type(error).__name__} {text}"


MAX_DEPTH = 100
"""Deepest nesting of JSON data that is read. Python gives up a few hundred levels deeper, when the data is used."""

_MOST_SHOWN = 80  # largest number of characters of a value in a message


def parse_json(text: str | bytes) -> Any:
    """Return the JSON data in `text`.

    Raises:
        ValueError: If `text` is not JSON, holds a number that is not finite, or is nested deeper than `MAX_DEPTH`.
        RecursionError: If `text` is nested so deeply that it cannot be parsed.
    """
    data = json.loads(text, parse_float=_finite, parse_constant=_finite)
    _check_depth(data)
    return data


def _check_depth(data: Any) -> None:
    level = [data]
    for _ in range(MAX_DEPTH + 1):
        inner = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level = [item for items in inner for item in items]
        if not level:
            return
    raise ValueError(f"expected at most {MAX_DEPTH} levels of nesting")


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"expected finite numbers, got {text}")
    return value


def finite(numbers: Sequence[float]) -> list[float]:
    """Return `numbers` with infinity, which JSON lacks, replaced by the largest finite number."""
    most = sys.float_info.max
    return [min(max(number, -most), most) for number in numbers]


def plain(data: Any) -> Any:
    """Return `data` as it is after a round trip through JSON: lists for tuples, plain numbers for NumPy's.

    Raises:
        TypeError: If JSON cannot represent a value in `data`.
    """
    return json.loads(json.dumps(data, default=_plain_number))


def _plain_number(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no JSON data")


def json_differences(before: Any, now: Any, path: str = "", verbs: tuple[str, str] = ("was", "is")) -> list[str]:
    """Return one line for each entry in which `now` differs from `before`, including entries of nested objects.

    Args:
        before: Plain JSON data.
        now: Plain JSON data.
        path: Names of the enclosing entries, joined by dots, for the text.
        verbs: Words before the value in `before` and before that in `now`.
    """
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = [*before, *(key for key in now if key not in before)]
        inner = [json_differences(before.get(key), now.get(key), f"{path}.{key}".lstrip("."), verbs) for key in keys]
        return [line for lines in inner for line in lines]
    return [] if before == now else [f"{path}: {verbs[0]} {_short(before)}, {verbs[1]} {_short(now)}"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def is_of_type(value: object, kind: Any) -> bool:
    """Return whether `value`, read from JSON, is of the annotated type `kind`.

    Args:
        value: Plain JSON data.
        kind: A type annotation made of `Any`, `None`, plain types, `Literal`, unions, mappings and sequences.
    """
    if kind is Any or (type(value) is kind and kind is not float):  # most values, without looking at the annotation
        return True
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(is_of_type(value, choice) for choice in arguments)
    if origin is Literal:
        return value in arguments
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(is_of_type(item, arguments[1]) for item in value.values())
    if origin is not None and issubclass(origin, Sequence):
        return isinstance(value, list | tuple) and all(is_of_type(item, arguments[0]) for item in value)
    if kind is None or kind is type(None):
        return value is None
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return abs(value) <= sys.float_info.max  # false for NaN and infinity, exact for integers of any size
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def read_checked(cls: type[T], data: object, where: str = "") -> T:
    """Return an instance of the dataclass `cls` from `data`, with each value checked against the type of its field.

    The type of a field may be a dataclass, an optional dataclass, a mapping or a tuple of dataclasses, or any type that
    `is_of_type` supports. A field with a default may be missing.

    Args:
        cls: A dataclass.
        data: Plain JSON data of unknown origin.
        where: Names of the enclosing entries, joined by dots, for error messages.

    Raises:
        SimScaleError: If an entry is missing, unknown, or of another type. The text names the first such entry.
    """
    checked: T = _read(cls, data, where)
    return checked


def _read(kind: Any, data: Any, where: str) -> Any:
    """Return `data` as `kind`. `where` names the enclosing entries for error messages."""
    if is_dataclass(kind):
        return _read_dataclass(kind, data, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        choices = [choice for choice in arguments if choice is not NoneType]
        if len(choices) == 1:
            return None if data is None else _read(choices[0], data, where)
    if origin is tuple and isinstance(data, list | tuple):
        kinds = arguments[:1] * len(data) if arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(data):
            return tuple(_read(kind, item, where) for kind, item in zip(kinds, data, strict=True))
    elif isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(data, Mapping):
        return {key: _read(arguments[1], item, _inner(where, key)) for key, item in data.items()}
    elif is_of_type(data, kind):
        return data
    raise SimScaleError(f"expected {where} of type {_type_text(kind)}, got {_short(data)}")


def _read_dataclass(cls: Any, data: Any, where: str) -> Any:
    if not isinstance(data, Mapping):
        raise SimScaleError(f"expected {where or 'an object'} with named entries, got {_short(data)}")
    kinds = _annotations(cls)
    if unknown := [key for key in data if key not in kinds]:
        raise SimScaleError(f"unknown entry {_inner(where, unknown[0])}, which a newer version may have written")
    required = {f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING}
    if missing := [name for name in kinds if name in required and name not in data]:
        raise SimScaleError(f"expected {_inner(where, missing[0])} of type {_type_text(kinds[missing[0]])}, got none")
    return cls(**{name: _read(kinds[name], item, _inner(where, name)) for name, item in data.items()})


@cache
def _annotations(cls: Any) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in fields(cls)}


def _inner(where: str, name: object) -> str:
    return f"{where}.{name}" if where else str(name)


def _type_text(kind: Any) -> str:
    text = kind.__name__ if isinstance(kind, type) and get_origin(kind) is None else str(kind)
    return text.replace("collections.abc.", "").replace("typing.", "")
