"""Receipts: what the policy got at the first step of each of the first episodes, and its answer.

A receipt shows whether a policy that often fails got the inputs that it was trained on, or for example an image upside
down, a vector in another order, or no instruction. While a run goes on, each receipt is a hidden file in the folder of
the run, written by the process that runs the episode. At the end of the run, all receipts are moved to `receipts.json`.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.episodes.results import ResultsError
from eval.runs.versions import RECORD_FILE, SCHEMA_VERSION
from simscaleai.contract import Layout, Needs, Observation
from simscaleai.errors import SimScaleError
from simscaleai.files import read_file, replace_file
from simscaleai.json_data import DAMAGE, parse_json, read_checked

RECEIPTS_FILE = "receipts.json"
"""Name of the file in the folder of a run."""

RECEIPT_EPISODES = range(3)
"""Indices of the episodes that get a receipt."""

_PREFIX = ".receipt_"


@dataclass(frozen=True, kw_only=True)
class ReceivedFeature:
    """One feature of a vector, with the values that the policy got."""

    name: str
    unit: str
    frame: str
    values: Sequence[Any]
    """Numbers; None for a number that is not finite."""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What the policy got at the first step of one episode, and its answer."""

    episode_index: int
    seed: int
    instruction: str
    digest: str
    """See `received_digest`."""
    vectors: Mapping[str, tuple[ReceivedFeature, ...]]
    """Observation key to the features of that vector."""
    images: Mapping[str, str]
    """Observation key of a camera to its image, or to the newest image of a history: a PNG in base64."""
    actions: Sequence[Sequence[Any]] | None = None
    """The first chunk (H, A); None for a number that is not finite. None if the policy raised an exception."""

    def with_answer(self, chunk: NDArray[np.float32]) -> Receipt:
        """Return the receipt with the answer of the policy, the first chunk (H, A)."""
        return replace(self, actions=_numbers(chunk))


def make_receipt(episode_index: int, seed: int, instruction: str, received: Observation, needs: Needs) -> Receipt:
    """Return a receipt without the answer of the policy.

    Args:
        episode_index: Index of the episode.
        seed: Its seed.
        instruction: Instruction that the policy got.
        received: Observation that the policy got for one slot: the keys of its needs, without a dimension for slots.
        needs: Needs of the policy.
    """
    return Receipt(
        episode_index=episode_index,
        seed=seed,
        instruction=instruction,
        digest=received_digest(received, instruction),
        vectors={key: _features(layout, received[key]) for key, layout in needs.vectors.items()},
        images={key: _png(received[key]) for key in needs.cameras},
    )


def received_digest(received: Observation, instruction: str) -> str:
    """Return the SHA-256 of the observation and the instruction that a policy got for one slot.

    It covers the instruction in UTF-8, then each array in the order of the keys: a line with key, type and shape, then
    the bytes in C order.
    """
    digest = hashlib.sha256(f"{instruction}\n".encode())
    for key, values in sorted(received.items()):
        digest.update(f"{key} {values.dtype} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def receipt_path(folder: Path, episode_index: int) -> Path:
    """Return the path of the hidden file of an episode in the folder of a run that goes on."""
    return folder / f"{_PREFIX}{episode_index:06d}.json"


def write_receipt(folder: Path, receipt: Receipt) -> None:
    """Write `receipt` as a hidden file into the folder of a run that goes on.

    Raises:
        WriteError: If the file cannot be written.
    """
    replace_file(receipt_path(folder, receipt.episode_index), json.dumps(asdict(receipt), allow_nan=False))


def remove_receipts(folder: Path) -> None:
    """Remove the receipts of a run that has no episode."""
    for path in folder.glob(f"{_PREFIX}*.json"):
        path.unlink(missing_ok=True)


def collect_receipts(folder: Path, episodes: int | None = None) -> None:
    """Move the receipts of a run that has ended from the hidden files to `receipts.json`.

    Args:
        folder: Folder of the run. Receipts of a run that was resumed may be in its `receipts.json` already.
        episodes: Number of episodes that count, if a stopping rule ended the run. Later receipts are dropped.

    Raises:
        ResultsError: If a receipt is damaged.
        WriteError: If the file cannot be written.
    """
    hidden = sorted(folder.glob(f"{_PREFIX}*.json"))
    receipts = {receipt.episode_index: receipt for receipt in read_receipts(folder)}
    for path in hidden:
        receipt = _checked(_read_json(path), path)
        receipts[receipt.episode_index] = receipt
    write_receipts(folder, [receipts[index] for index in receipts if episodes is None or index < episodes])
    remove_receipts(folder)


def write_receipts(folder: Path, receipts: Iterable[Receipt]) -> None:
    """Write the file `receipts.json` of the run in `folder`, sorted by episode.

    Raises:
        WriteError: If the file cannot be written.
    """
    ordered = sorted(receipts, key=lambda receipt: receipt.episode_index)
    data = {"schema_version": SCHEMA_VERSION, "receipts": list(map(asdict, ordered))}
    replace_file(folder / RECEIPTS_FILE, json.dumps(data, allow_nan=False) + "\n")


def read_receipts(folder: Path) -> list[Receipt]:
    """Return the receipts of the run in `folder`, sorted by episode; an empty list if there are none yet.

    Reads runs of schema version 1, too, whose receipts are in `run.json`.

    Raises:
        ResultsError: If a receipt is damaged, or a newer version wrote it.
    """
    path = folder / RECEIPTS_FILE
    if not path.exists():
        return _read_version_1(folder / RECORD_FILE)
    data = _read_json(path)
    try:
        version, receipts = data["schema_version"], list(data["receipts"])
    except DAMAGE as error:
        raise _damaged(path, error) from error
    if version != SCHEMA_VERSION:
        raise ResultsError(
            f"{path} has schema version {version!r}, expected {SCHEMA_VERSION}; read it with the version that wrote it"
        )
    return sorted((_checked(receipt, path) for receipt in receipts), key=lambda receipt: receipt.episode_index)


def _read_version_1(path: Path) -> list[Receipt]:
    if not path.exists():
        return []
    data = _read_json(path)
    try:
        receipts = [_from_version_1(receipt) for receipt in data.get("receipts") or ()]
    except DAMAGE as error:
        raise _damaged(path, error) from error
    return [_checked(receipt, path) for receipt in receipts]


def _from_version_1(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a receipt of schema version 1, in which each vector is a separate entry, to the current version."""
    old = ("state", "environment_state")
    vectors = {key: receipt[key] for key in old if receipt.get(key)}
    return {key: value for key, value in receipt.items() if key not in old} | {"vectors": vectors}


def _read_json(path: Path) -> Any:
    try:
        return parse_json(read_file(path))
    except DAMAGE as error:
        raise _damaged(path, error) from error


def _checked(data: object, path: Path) -> Receipt:
    try:
        return read_checked(Receipt, data)
    except SimScaleError as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, reason: object) -> ResultsError:
    return ResultsError(f"the receipts in {path} are damaged ({reason}); restore the file or run it again")


def _features(layout: Layout, vector: NDArray[np.float32]) -> tuple[ReceivedFeature, ...]:
    return tuple(
        ReceivedFeature(
            name=feature.name,
            unit=feature.unit,
            frame=feature.frame,
            values=_numbers(layout.get(vector, feature.name)),
        )
        for feature in layout.features
    )


def _png(images: NDArray[np.uint8]) -> str:
    """Return an image (h, w, 3), or the newest of a history (history, h, w, 3), as the base64 text of a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(images.reshape(-1, *images.shape[-3:])[-1]).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _numbers(array: NDArray[np.float32]) -> Any:
    """Return `array` as nested lists that are JSON data. Floats keep every bit."""
    return np.where(np.isfinite(array), array, np.array(None)).tolist()
