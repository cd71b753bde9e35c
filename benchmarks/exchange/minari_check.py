"""Release check of the exchange with Minari against the package itself, in an environment of its own.

Dataset: one task without a choice of objects, whose starts follow from the seed alone::

    python -m venv minari-venv && minari-venv/bin/pip install -e '.[minari]'
    python -m eval.collect --env pick-place --episodes 6 --action-noise 0.2 --output data/check
    minari-venv/bin/python -m benchmarks.exchange.minari_check data/check

Exports the dataset where Minari looks for datasets, and compares every array that `minari.load_dataset` gives with what
was collected. The environment that Minari recovers replays the executed actions. Our importer restores the export, and
reads datasets that `minari.create_dataset_from_buffers` writes. Writes a table; the exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import minari
import numpy as np
from gymnasium.spaces import Box, Dict
from minari.data_collector import EpisodeBuffer

from benchmarks.exchange.verdict import Row, conclude, same_files
from benchmarks.tables import RESULTS
from simscaleai.data import Dataset
from simscaleai.data.minari import export_minari, import_minari

LENGTHS = (5, 8, 6)


def exported(ours: Dataset, theirs: minari.MinariDataset) -> Iterator[Row]:
    """Compare all arrays that Minari loads with the dataset."""
    yield "export: episodes", len(ours.episodes), theirs.total_episodes
    yield "export: steps", ours.num_frames, theirs.total_steps
    equal: dict[str, int] = {}
    for number, episode in enumerate(theirs):
        arrays = ours.episode(number)
        found = {f"observation.{name}": episode.observations[name] for name in ours.needs.vectors}
        found |= {f"observation.images.{name}": episode.observations[name] for name in ours.needs.cameras}
        found |= {"action": episode.actions, "executed_action": episode.infos["executed_action"]}
        for key, values in found.items():
            rows = zip(values, arrays[key], strict=False)  # one observation more than actions
            equal[key] = equal.get(key, 0) + sum(np.array_equal(its, mine) for its, mine in rows)
    yield from ((f"export: {key}", ours.num_frames, count) for key, count in equal.items())


def replayed(ours: Dataset, theirs: minari.MinariDataset) -> Iterator[Row]:
    """Replay the executed actions in the environment that Minari recovers, and compare states and ends."""
    environment = theirs.recover_environment()
    states, ends = 0, 0
    for number, episode in enumerate(theirs):
        state = ours.episode(number)["observation.state"]
        observation, _ = environment.reset(seed=int(ours.episodes[number].metadata["seed"]))
        terminated = False
        for step, action in enumerate(episode.infos["executed_action"][: len(episode)]):
            states += np.array_equal(observation["state"], state[step])
            observation, _, terminated, _, _ = environment.step(action)
        ends += terminated == bool(episode.terminations[-1])
    yield "recovered environment: states", ours.num_frames, states
    yield "recovered environment: ends of episodes", len(ours.episodes), ends


def imported(path: Path, folder: Path, name: str, *, jpeg: bool) -> Iterator[Row]:
    """Let Minari write a dataset below `path`, import it, and compare it with what Minari reads."""
    rng = np.random.default_rng(0)
    space = Dict({"hand": Box(-9, 9, (3,)), "eye": Box(0, 255, (48, 48, 3), np.uint8)})
    buffers = [
        EpisodeBuffer(
            observations={
                "hand": rng.normal(size=(length + 1, 3)).astype(np.float32),
                "eye": rng.integers(0, 256, (length + 1, 48, 48, 3), dtype=np.uint8),
            },
            actions=rng.uniform(-1, 1, (length, 4)).astype(np.float32),
            rewards=np.zeros(length),
            terminations=np.zeros(length, bool),
            truncations=np.zeros(length, bool),
        )
        for length in LENGTHS
    ]
    theirs = minari.create_dataset_from_buffers(
        name, buffers, observation_space=space, action_space=Box(-1, 1, (4,)), jpeg_encoding=jpeg
    )
    import_minari(path / name, folder, control_hz=20)
    ours, pairs = Dataset(folder), {"observation.state": "hand", "observation.images.eye": "eye"}
    for key, its in pairs.items():
        equal = [np.array_equal(ours.episode(n)[key], each.observations[its][:-1]) for n, each in enumerate(theirs)]
        yield f"import of {name}: {key}, episodes", len(LENGTHS), sum(equal)
    equal = [np.array_equal(ours.episode(n)["action"], each.actions) for n, each in enumerate(theirs)]
    yield f"import of {name}: action, episodes", len(LENGTHS), sum(equal)


def main() -> int:
    """Check the dataset named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dataset", type=Path, help="folder that eval.collect has written")
    source = parser.parse_args().dataset
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["MINARI_DATASETS_PATH"] = str(folder)
        export_minari(source, folder / "simscale/check-v0", privileged=True)
        ours, theirs = Dataset(source), minari.load_dataset("simscale/check-v0")
        rows = [*exported(ours, theirs), *replayed(ours, theirs)]
        import_minari(folder / "simscale/check-v0", folder / "back")
        rows.append(same_files(source, folder / "back"))
        rows += imported(folder, folder / "jpeg", "their/jpeg-v0", jpeg=True)
        rows += imported(folder, folder / "raw", "their/raw-v0", jpeg=False)
    return conclude(RESULTS / "minari_check.csv", rows)


if __name__ == "__main__":
    raise SystemExit(main())
