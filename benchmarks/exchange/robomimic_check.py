"""Release check of the exchange with robomimic against its own reader, `SequenceDataset`.

In an environment of its own (robomimic asks for packages that its reader does not need)::

    python -m venv robomimic-venv && robomimic-venv/bin/pip install -e '.[robomimic]' && \
        robomimic-venv/bin/pip install --no-deps robomimic==0.3.0 termcolor tensorboardX imageio psutil
    python -m eval.collect --env pick-place-language --episodes 6 --output data/check
    robomimic-venv/bin/python -m benchmarks.exchange.robomimic_check data/check

Exports the dataset, and compares every step that robomimic loads with what was collected. Then our importer restores
the export, and a file with robosuite's names is imported and compared with what `SequenceDataset` reads from it. Writes
a table; the exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from robomimic.utils import obs_utils
from robomimic.utils.dataset import SequenceDataset

from benchmarks.exchange.verdict import Row, conclude, same_files
from benchmarks.tables import RESULTS
from simscaleai.data import Dataset
from simscaleai.data.robomimic import export_robomimic, import_robomimic


def opened(path: Path, images: list[str], vectors: list[str], **options: object) -> SequenceDataset:
    """Return the file, opened by robomimic."""
    obs_utils.initialize_obs_utils_with_obs_specs([{"obs": {"low_dim": vectors, "rgb": images}}])
    keys = ("actions", "rewards", "dones")
    return SequenceDataset(str(path), [*vectors, *images], keys, load_next_obs=False, **options)


def steps(ours: Dataset, number: int, key: str) -> np.ndarray:
    """Return array `key` of the episode `number`."""
    return np.asarray(ours.episode(number)[key])


def exported(ours: Dataset, path: Path) -> Iterator[Row]:
    """Compare all steps of the export at `path` with the dataset."""
    cameras, vectors = list(ours.needs.cameras), list(ours.needs.vectors)
    theirs = opened(path, [f"{camera}_image" for camera in cameras], vectors, hdf5_cache_mode=None)
    yield "steps", ours.num_frames, len(theirs)
    pairs = {f"{camera}_image": f"observation.images.{camera}" for camera in cameras}
    pairs |= {vector: f"observation.{vector}" for vector in vectors}
    equal = dict.fromkeys([*pairs, "actions", "rewards", "dones"], 0)
    for frame in range(ours.num_frames):
        item, number = theirs[frame], int(ours.episode_of_frame[frame])
        length = ours.episodes[number].length
        step = frame - int(ours.episode_ends[number]) + length
        for name, key in pairs.items():
            equal[name] += np.array_equal(item["obs"][name][0], steps(ours, number, key)[step])
        equal["actions"] += np.array_equal(item["actions"][0], steps(ours, number, "action")[step])
        ends = step == length - 1
        equal["dones"] += int(item["dones"][0]) == ends
        equal["rewards"] += float(item["rewards"][0]) == (ends and ours.episodes[number].metadata["success"])
    yield from ((f"export: {name}", ours.num_frames, count) for name, count in equal.items())
    won = sum(episode.length for episode in ours.episodes if episode.metadata["success"])
    yield "export: filter key successful", won, len(opened(path, [], vectors, filter_by_attribute="successful"))


def imported(path: Path, folder: Path) -> Iterator[Row]:
    """Import a file with the names of robosuite, and compare it with what robomimic reads."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        args = {"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 20}}
        file.create_group("data").attrs["env_args"] = json.dumps(args)
        for number, length in enumerate((5, 8, 6)):
            group = file.create_group(f"data/demo_{number}")
            group.attrs["num_samples"] = length
            group["actions"] = rng.uniform(-1, 1, (length, 7))
            group["rewards"], group["dones"] = np.zeros(length), np.zeros(length, int)
            group["obs/object"], group["obs/robot0_eef_pos"] = (
                rng.normal(size=(length, 10)),
                rng.normal(size=(length, 3)),
            )
            group["obs/agentview_image"] = rng.integers(0, 256, (length, 16, 16, 3), dtype=np.uint8)
    import_robomimic(path, folder)
    theirs, ours = opened(path, ["agentview_image"], ["object", "robot0_eef_pos"]), Dataset(folder)
    pairs = {"agentview_image": "observation.images.agentview", "object": "observation.environment_state"}
    pairs |= {"robot0_eef_pos": "observation.state"}
    items = [theirs[frame] for frame in range(len(theirs))]
    for name, key in pairs.items():
        mine = np.concatenate([steps(ours, number, key) for number in range(3)])
        its = [item["obs"][name][0].astype(mine.dtype) for item in items]
        yield f"import: {name}", len(mine), sum(map(np.array_equal, mine, its))
    actions = [item["actions"][0].astype(np.float32) for item in items]
    yield "import: actions", len(actions), sum(map(np.array_equal, ours.vectors("action"), actions))


def main() -> int:
    """Check the dataset named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dataset", type=Path, help="folder that eval.collect has written")
    source = parser.parse_args().dataset
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "exported" / "demo.hdf5"
        export_robomimic(source, path.parent, privileged=True)
        import_robomimic(path, Path(folder) / "back")
        rows = [*exported(Dataset(source), path), same_files(source, Path(folder) / "back")]
        rows += imported(Path(folder) / "theirs.hdf5", Path(folder) / "imported")
    return conclude(RESULTS / "robomimic_check.csv", rows)


if __name__ == "__main__":
    raise SystemExit(main())
