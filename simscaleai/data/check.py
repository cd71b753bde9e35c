"""Checks whether a dataset is whole, and looks for what faults of recording or conversion leave in the numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simscaleai.command_line import printable
from simscaleai.data.description import Description, read_description
from simscaleai.data.keys import image_key
from simscaleai.data.reader import Dataset
from simscaleai.data.statistics import compute_statistics, is_float_vector

EXPLODING = 1e4
"""Smallest absolute value that may be the result of a simulation or a sensor that exploded."""
EXPLODING_RATIO = 1e3
"""How much larger than 99 % of the values of its entry such a value is."""
FEW_VALUES = 16
"""An 8-bit image whose values span less than this was probably converted from another depth or scale."""
_MOST_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """One line of the result of a check."""

    name: str
    """What was checked."""
    text: str
    """What was found."""
    is_wrong: bool = False
    """Whether the dataset must not be used as it is."""


def check_dataset(folder: Path) -> list[Finding]:
    """Return what a check of the dataset in `folder` found. It reads every file once.

    Raises:
        DatasetError: If the folder holds no dataset, or one that cannot be opened.
    """
    dataset, description = Dataset(folder), read_description(folder)
    sections = (
        _files(dataset),
        _tasks(dataset),
        _time(dataset, description),
        _vectors(dataset, description),
        _statistics(dataset, description),
        *(_images(dataset, camera) for camera in dataset.needs.cameras),
    )
    return [finding for section in sections for finding in section]


def findings_text(findings: list[Finding]) -> str:
    """Return the findings as lines of text, and a last line that says whether something is wrong."""
    width = max(len(finding.name) for finding in findings)
    lines = [
        printable(f"{finding.name:<{width}}  {'WRONG: ' * finding.is_wrong}{finding.text}") for finding in findings
    ]
    wrong = sum(finding.is_wrong for finding in findings)
    return "\n".join([*lines, f"{'result':<{width}}  {f'{wrong} faults' if wrong else 'nothing is wrong'}"])


def _files(dataset: Dataset) -> Iterator[Finding]:
    changed, count = dataset.changed_files(), len(dataset.episodes)
    if changed:
        names = _listing([path.name for path in changed])
        yield Finding("digests", f"{len(changed)} of {count} files have another SHA-256 than listed: {names}", True)
    else:
        yield Finding("digests", f"{count} files, each with the SHA-256 that is listed")
    digests = [episode.sha256 for episode in dataset.episodes]
    if equal := count - len(set(digests)):
        yield Finding("digests", f"{equal} episodes are copies of another one")


def _tasks(dataset: Dataset) -> Iterator[Finding]:
    texts = [episode.metadata["instruction"] for episode in dataset.episodes]
    missing = sum(not text.strip() for text in texts)
    yield Finding("task", f"{len(set(texts))} different, of at most {max(map(len, texts))} characters")
    if dataset.needs.instruction and missing:
        yield Finding("task", f"{missing} of {len(texts)} episodes have no instruction", True)


def _time(dataset: Dataset, description: Description) -> Iterator[Finding]:
    lengths = [episode.length for episode in dataset.episodes]
    most = description.needs.max_episode_steps
    text = f"{min(lengths)} to {max(lengths)} steps an episode at {description.fps:g} Hz"
    yield Finding("time", text if most is None else f"{text}, at most {most}", most is not None and max(lengths) > most)


def _vectors(dataset: Dataset, description: Description) -> Iterator[Finding]:
    for key, array_type in description.array_types.items():
        if is_float_vector(array_type.dtype, array_type.shape):
            rows = dataset.rows(key)
            layout = description.layout(key)
            names = list(map(str, range(rows.shape[1]))) if layout is None else layout.entry_names
            yield from _entries(key, rows.astype(np.float64), names)


def _entries(key: str, rows: NDArray[np.float64], names: list[str]) -> Iterator[Finding]:
    if not np.isfinite(rows).all():
        yield Finding(key, f"not finite: {_listing(_chosen(names, ~np.isfinite(rows).all(0)))}", True)
        return
    yield Finding(key, f"{rows.shape[1]} entries, all finite, {rows.min():.4g} to {rows.max():.4g}")
    constant = rows.min(0) == rows.max(0)
    if constant.any():
        yield Finding(key, f"constant: {_listing(_chosen(names, constant))}")
    sizes = np.abs(rows)
    most, usual = sizes.max(0), np.quantile(sizes, 0.99, axis=0, method="lower")
    exploding = (most > EXPLODING) & (most > EXPLODING_RATIO * usual)
    if exploding.any():
        text = f"up to {most[exploding].max():.3g}, though 99 % lie within ±{usual[exploding].max():.3g}"
        yield Finding(key, f"exploding: {_listing(_chosen(names, exploding))} ({text})", True)


def _statistics(dataset: Dataset, description: Description) -> Iterator[Finding]:
    stored = description.statistics
    if not stored:
        yield Finding("statistics", "none are stored, since the dataset was not closed; they are computed when read")
        return
    with np.errstate(all="ignore"):  # values that are not finite are another finding
        found = compute_statistics(dataset.episode(number) for number in range(len(dataset.episodes)))
    differing = [key for key in found if key not in stored or not _are_close(stored[key], found[key])]
    if differing:
        yield Finding("statistics", f"those stored are not those of the episodes: {_listing(differing)}", True)
    else:
        yield Finding("statistics", "those stored are those of the episodes")


def _are_close(stored: dict[str, Any], found: dict[str, Any]) -> bool:
    names = ("count", "min", "max", "mean", "std")
    return all(
        np.shape(stored[name]) == np.shape(found[name])
        and np.allclose(stored[name], found[name], rtol=1e-6, atol=1e-9, equal_nan=True)
        for name in names
    )


def _images(dataset: Dataset, camera: str) -> Iterator[Finding]:
    low, high, repeated, still = 255, 0, 0, 0
    for number in range(len(dataset.episodes)):
        images = dataset.episode(number)[image_key(camera)]
        low, high = min(low, int(images.min())), max(high, int(images.max()))
        equal = int((images[1:] == images[:-1]).all(axis=(1, 2, 3)).sum())
        repeated += equal
        still += len(images) > 1 and equal == len(images) - 1
    height, width = dataset.needs.cameras[camera]
    share = 100 * repeated / dataset.num_frames
    name = f"camera {camera}"
    yield Finding(
        name, f"{height}×{width}, 8 bits, values {low} to {high}; {share:.1f} % of the frames repeat the last"
    )
    if low == high:
        yield Finding(name, "every pixel of every frame has one value", True)
    elif high - low < FEW_VALUES:
        yield Finding(name, f"only values {low} to {high}: were the images converted from another depth or scale?")
    if still:
        yield Finding(name, f"{still} of {len(dataset.episodes)} episodes show one picture throughout")


def _chosen(names: list[str], mask: Any) -> list[str]:
    """Return the names for which the boolean array `mask` is true."""
    return [name for name, is_chosen in zip(names, mask.tolist(), strict=True) if is_chosen]


def _listing(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_SHOWN])
    return f"{shown} and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else shown
