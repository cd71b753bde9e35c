"""Exports a SimScaleAI dataset as an HDF5 file for robomimic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from tqdm import tqdm

from simscaleai.data.episode_file import DatasetError
from simscaleai.data.exchange.contents import Contents
from simscaleai.data.robomimic.layout import FILE_NAME, GYM_TYPE, RECORD, RECORD_FORMAT, places
from simscaleai.files import new_folder


def export_robomimic(source: Path, output: Path, *, privileged: bool = False) -> list[str]:
    """Write the dataset in `source` to `demo.hdf5` in the new folder `output`, which is filled when it is complete.

    Every array keeps its values, bit for bit. The reward is 1 at the last step of a successful episode and otherwise 0.
    Filter key `mask/successful` lists the successful demonstrations.

    Args:
        source: The dataset.
        output: Folder to write, new or empty.
        privileged: Whether to write the privileged vectors (simulator truth), too.

    Returns:
        Notes about what the file cannot hold, one line each.

    Raises:
        DatasetError: If `source` is no SimScaleAI dataset or has changed since it was written, robomimic cannot hold an
            array, or the episodes come from several environments.
        SimScaleError: If `output` exists and is not an empty folder, or another process writes to it.
    """
    contents = Contents.open(source, privileged=privileged)
    place_of, env_args = places(contents.description.array_types), json.dumps(_env_args(contents))
    with new_folder(output) as folder, h5py.File(folder / FILE_NAME, "w") as file:
        data = file.create_group("data")
        data.attrs["total"], data.attrs["env_args"] = contents.dataset.num_frames, env_args
        for number in tqdm(range(len(contents.dataset.episodes)), unit="ep", disable=None):
            _write_demonstration(data.create_group(f"demo_{number}"), contents, number, place_of)
        won = [number for number, episode in enumerate(contents.written) if episode.metadata["success"]]
        file["mask/successful"] = np.array([f"demo_{number}" for number in won], dtype="S16")
        file[RECORD] = json.dumps(contents.record().to_json(RECORD_FORMAT))
    return [
        "simulator states and models are not stored: replays need `eval.collect --verify` on the dataset itself",
        "observations after the last action (next_obs) are not stored: load with load_next_obs=False",
    ]


def _env_args(contents: Contents) -> dict[str, Any]:
    """Return what robomimic must know to make the environment."""
    environments = list(contents.description.needs.environments or {})
    if len(environments) > 1:
        raise DatasetError(f"a robomimic file holds one environment, got {', '.join(environments)}")
    name = environments[0] if environments else "unknown"
    return {"env_name": name, "type": GYM_TYPE, "env_kwargs": {"control_freq": contents.description.fps}}


def _write_demonstration(group: h5py.Group, contents: Contents, number: int, place_of: dict[str, str]) -> None:
    for key, values in contents.arrays(number).items():
        group.create_dataset(place_of[key], data=values)
    episode = contents.dataset.episodes[number]
    is_last = np.arange(episode.length) == episode.length - 1
    group["rewards"] = contents.rewards(number)
    group["dones"] = is_last.astype(np.int64)
    group.attrs["num_samples"] = episode.length
    group.attrs["instruction"] = contents.instruction(number)
