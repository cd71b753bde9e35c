"""Describes a dataset as lines of text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from simscaleai.command_line import printable
from simscaleai.contract import Layout
from simscaleai.data.description import ArrayType, Description, read_description
from simscaleai.data.episode_list import StoredEpisode, read_discarded
from simscaleai.data.reader import Dataset

_MOST_SHOWN = 60  # characters of an instruction


def dataset_text(folder: Path) -> str:
    """Return a table of what the dataset in `folder` holds.

    Raises:
        DatasetError: If it is no dataset, or damaged.
    """
    dataset, description = Dataset(folder), read_description(folder)
    discarded, environments = len(read_discarded(folder)), description.needs.environments or {}
    seconds = dataset.num_frames / description.fps
    rows = {
        "dataset": str(folder),
        "environment": ", ".join(environments) or "unknown: policies can be trained on it, not evaluated",
        "episodes": f"{len(dataset.episodes)}, {_success_text(dataset.episodes)}; {discarded} discarded",
        "frames": f"{dataset.num_frames}, {seconds:.0f} s at {description.fps} Hz",
        "instructions": _instructions_text(dataset.episodes),
        "size": f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 1e6:.1f} MB",
        "digest": dataset.digest,
        **_array_rows(description),
        **{f"made with {key}": json.dumps(value) for key, value in _flat(description.provenance)},
    }
    width = max(map(len, rows))
    return "\n".join(printable(f"{name:<{width}}  {text}") for name, text in rows.items())


def _success_text(episodes: Sequence[StoredEpisode]) -> str:
    verdicts = [episode.metadata["success"] for episode in episodes]
    text = f"{verdicts.count(True)} successful"
    return f"{text}, {verdicts.count(None)} not judged" if None in verdicts else text


def _instructions_text(episodes: Sequence[StoredEpisode]) -> str:
    texts = list(dict.fromkeys(str(episode.metadata["instruction"]) for episode in episodes))
    examples = ", ".join(repr(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…") for text in texts[:3])
    return f"{len(texts)} different: {examples}{', …' if len(texts) > 3 else ''}"


def _array_rows(description: Description) -> dict[str, str]:
    return {key: _array_text(kind, description.layout(key)) for key, kind in description.array_types.items()}


def _array_text(array_type: ArrayType, layout: Layout | None) -> str:
    text = f"{array_type.dtype} {'×'.join(map(str, array_type.shape)) or 'number'}"
    return text if layout is None else f"{text}: {layout}{' (privileged)' if layout.privileged else ''}"


def _flat(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the entries of nested dictionaries, with names like `outer.inner`."""
    rows: list[tuple[str, Any]] = []
    for key, value in data.items():
        rows += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else [(prefix + key, value)]
    return rows
