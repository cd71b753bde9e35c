"""What a dataset holds, as lines of text for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from simscaleai.data.description import EpisodeRecord, read_discarded
from simscaleai.data.reader import Dataset


def dataset_text(folder: Path) -> str:
    """Return a table of what the dataset in `folder` holds.

    Raises:
        DatasetError: If it is no dataset, or damaged.
    """
    dataset, discarded = Dataset(folder), len(read_discarded(folder))
    contract = dataset.contract
    seconds = dataset.num_frames / contract["control_hz"]
    rows = {
        "dataset": str(folder),
        "environment": ", ".join(contract["environments"]) or "unknown: policies can be trained on it, not evaluated",
        "episodes": f"{len(dataset.episodes)}, {_success_text(dataset.episodes)}; {discarded} discarded",
        "frames": f"{dataset.num_frames}, {seconds:.0f} s at {contract['control_hz']} Hz",
        "instructions": _instructions_text(dataset.episodes),
        "size": f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 1e6:.1f} MB",
        "digest": dataset.digest,
        **{
            key: _feature_text(feature.dtype, feature.shape, feature.layout)
            for key, feature in dataset.features.items()
        },
        **{f"made with {key}": json.dumps(value) for key, value in _flat(dataset.provenance[0])},
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows.items())


def _success_text(episodes: Sequence[EpisodeRecord]) -> str:
    verdicts = [record.metadata["success"] for record in episodes]
    text = f"{verdicts.count(True)} successful"
    return f"{text}, {verdicts.count(None)} not judged" if None in verdicts else text


def _instructions_text(episodes: Sequence[EpisodeRecord]) -> str:
    texts = list(dict.fromkeys(str(record.metadata["instruction"]) for record in episodes))
    examples = ", ".join(map(repr, texts[:3]))
    return f"{len(texts)} different: {examples}{', …' if len(texts) > 3 else ''}"


def _feature_text(dtype: str, shape: tuple[int, ...], layout: Sequence[Mapping[str, Any]] | None) -> str:
    names = "" if not layout else ": " + ", ".join(f"{entry['name']}({entry['size']})" for entry in layout)
    return f"{dtype} {'×'.join(map(str, shape)) or 'number'}{names}"


def _flat(data: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    """Return the entries of nested dictionaries, named like `outer.inner`."""
    rows: list[tuple[str, Any]] = []
    for key, value in data.items():
        rows += _flat(value, f"{above}{key}.") if isinstance(value, Mapping) and value else [(above + key, value)]
    return rows
