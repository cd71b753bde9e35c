"""The receipt: what the policy was given at the first step of the first episodes, and what it answered.

A policy that fails often got something else than it was trained on: an image upside down, a state in another order, no
instruction. So a run keeps a sample of what reached `act`, with a digest of it. While the run goes on, each receipt is
a file in the run's folder, written by the process that runs the episode; in the end the record takes them up.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.interface import ACTION_DIM, Contract, Layout, ObservationArrays
from eval.plan import EpisodeSpec
from eval.results import write_atomically
from policies.base import Policy

Receipt = dict[str, Any]
"""JSON data: `episode_index`, `seed`, `instruction`, `digest` (see `received_digest`), each vector of the contract as a
list of features with name, unit, frame and values, `images` (camera to the base64 text of a PNG), and `actions`:
the first chunk (H, 4), of a policy without chunks the first action; None if it raised. Numbers that are not finite are
None."""

_RECEIPTED = range(3)  # indices of episodes
_PREFIX = ".receipt_"


def receipted(plan: Sequence[EpisodeSpec]) -> dict[int, int]:
    """Return which episodes of `plan` get a receipt, as seed to index."""
    return {spec.seed: spec.episode_index for spec in plan if spec.episode_index in _RECEIPTED}


class ReceiptKeeper:
    """A policy that passes everything on to another one, and writes receipts of chosen episodes."""

    def __init__(self, policy: Policy, folder: Path, episodes: Mapping[int, int]) -> None:
        """Stand before `policy`.

        Args:
            policy: What is evaluated.
            folder: Folder of the run, which exists.
            episodes: Seeds of the episodes that get a receipt, to their indices.
        """
        self.contract = policy.contract
        self._policy, self._folder, self._episodes = policy, folder, episodes
        self._beginning: dict[int, tuple[int, str]] = {}
        """Slot to seed and instruction of an episode that gets a receipt and has not acted."""

    def reset(self, env_ids: NDArray[np.intp], seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Reset the policy."""
        for slot, seed, instruction in zip(env_ids.tolist(), seeds, instructions, strict=True):
            self._beginning.pop(slot, None)
            if seed in self._episodes:
                self._beginning[slot] = (seed, instruction)
        self._policy.reset(env_ids, seeds, instructions)

    def needs_observation(self, env_ids: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return what the policy says."""
        return self._policy.needs_observation(env_ids)

    def act(self, observation: ObservationArrays, env_ids: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the policy's actions.

        Raises:
            ResultsError: If a receipt cannot be written.
        """
        slots: list[int] = env_ids.tolist()
        # Noted before the policy acts: it may change the arrays that it gets.
        receipts = {
            row: self._begin(slot, observation, row) for row, slot in enumerate(slots) if slot in self._beginning
        }
        try:
            actions = self._policy.act(observation, env_ids)
        except Exception:
            self._write(receipts.values())
            raise
        if np.shape(actions) == (len(slots), ACTION_DIM):  # otherwise the loop refuses them
            for row, receipt in receipts.items():
                receipt["actions"] = _numbers(self._chunk(slots[row], np.asarray(actions)[row]))
        self._write(receipts.values())
        return actions

    def _begin(self, slot: int, observation: ObservationArrays, row: int) -> Receipt:
        """Return the receipt of what `slot` is given, without the answer."""
        seed, instruction = self._beginning.pop(slot)
        received = {key: rows[row] for key, rows in observation.items()}
        return {
            "episode_index": self._episodes[seed],
            "seed": seed,
            "instruction": instruction,
            "digest": received_digest(received, instruction),
            **{key: _features(layout, received[key]) for key, layout in self.contract.vectors.items()},
            "images": _images(self.contract, received),
            "actions": None,
        }

    def _chunk(self, slot: int, action: NDArray[np.float32]) -> NDArray[np.float32]:
        chunks: Mapping[int, NDArray[np.float32]] = getattr(self._policy, "latest_chunks", {})  # of learned policies
        return chunks[slot] if slot in chunks else action[None]

    def _write(self, receipts: Iterable[Receipt]) -> None:
        for receipt in receipts:
            path = self._folder / f"{_PREFIX}{receipt['episode_index']:06d}.json"
            write_atomically(path, json.dumps(receipt, allow_nan=False))


def received_digest(received: ObservationArrays, instruction: str) -> str:
    """Return the SHA-256 of what a policy was given for one slot.

    It goes over the instruction in UTF-8, then over each array in the order of the keys: a line with key, type and
    shape, then the bytes in C order.
    """
    digest = hashlib.sha256(f"{instruction}\n".encode())
    for key, values in sorted(received.items()):
        digest.update(f"{key} {values.dtype} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def collect_receipts(folder: Path, earlier: Iterable[Mapping[str, Any]] = ()) -> list[Receipt]:
    """Return the receipts that lie in `folder`, and the `earlier` ones of other episodes, sorted by episode."""
    written = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob(f"{_PREFIX}*.json")]
    receipts = {receipt["episode_index"]: dict(receipt) for receipt in [*earlier, *written]}
    return [receipts[index] for index in sorted(receipts)]


def remove_receipts(folder: Path) -> None:
    """Remove the files of receipts from `folder`, also half-written ones that a killed process left."""
    for path in folder.glob(f"*{_PREFIX}*"):
        path.unlink(missing_ok=True)


def _features(layout: Layout, vector: NDArray[np.float32]) -> list[dict[str, Any]]:
    return [
        {"name": feature.name, "unit": feature.unit, "frame": feature.frame}
        | {"values": _numbers(layout.get(vector, feature.name))}
        for feature in layout.features
    ]


def _images(contract: Contract, received: ObservationArrays) -> dict[str, str]:
    return {
        camera: _png(received["image"][..., 3 * index : 3 * index + 3]) for index, camera in enumerate(contract.cameras)
    }


def _png(image: NDArray[np.uint8]) -> str:
    from imageio.v3 import imwrite

    return base64.b64encode(imwrite("<bytes>", image, extension=".png")).decode("ascii")


def _numbers(array: NDArray[np.float32]) -> Any:
    """Return `array` as nested lists that are JSON; floats keep every bit."""
    return np.where(np.isfinite(array), array, np.array(None)).tolist()
