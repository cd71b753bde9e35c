"""Exports a SimScaleAI dataset for Minari."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import minari
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Dict
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage
from numpy.typing import NDArray
from tqdm import tqdm

from simscaleai.data.description import ArrayType, Description
from simscaleai.data.episode_file import DatasetError
from simscaleai.data.exchange.contents import Contents
from simscaleai.data.keys import ACTION, image_key, vector_key
from simscaleai.data.minari.layout import DATA, RECORD_FORMAT, RECORD_PATH, dataset_id
from simscaleai.files import new_folder, replace_file

_OWN = "SimScale/"  # begins the ids of the environments of `envs`


def export_minari(source: Path, output: Path, *, privileged: bool = False) -> list[str]:
    """Write the dataset in `source` to the new folder `output`, which is filled when it is complete.

    `minari.MinariDataset(output / "data")` loads it. Every array keeps its values, bit for bit. The reward is 1 at the
    last step of a successful episode and otherwise 0; a successful episode terminates, another one is truncated.

    Args:
        source: The dataset.
        output: Folder to write, new or empty.
        privileged: Whether to write the privileged vectors (simulator truth), too.

    Returns:
        Notes about what the format cannot hold, one line each.

    Raises:
        DatasetError: If `source` is no SimScaleAI dataset or has changed since it was written, or Minari cannot hold an
            array.
        SimScaleError: If `output` exists and is not an empty folder, or another process writes to it.
    """
    contents = Contents.open(source, privileged=privileged)
    spaces, spec = _spaces(contents.description), _environment(contents.description)
    with new_folder(output) as folder:
        storage = MinariStorage.new(folder / DATA, *spaces, spec, "hdf5", jpeg_encoding=False)
        storage.update_metadata(
            {
                "dataset_id": dataset_id(output.absolute().name),
                "minari_version": minari.__version__,
                "description": "Demonstrations of SimScaleAI",
                "requirements": [],
            }
        )
        for number in tqdm(range(len(contents.dataset.episodes)), unit="ep", disable=None):
            storage.update_episodes([_buffer(contents, number)])
        replace_file(folder / RECORD_PATH, json.dumps(contents.record().to_json(RECORD_FORMAT)) + "\n")
    notes = ["the observation after the last action is not stored: the last one stands in its place"]
    return notes if spec else [*notes, "no environment: recover_environment() needs one environment of this package"]


def _observed(description: Description) -> dict[str, str]:
    """Return the key of each observation of the environment, and the array that holds it."""
    vectors = {name: vector_key(name) for name in description.needs.vectors}
    return vectors | {camera: image_key(camera) for camera in description.needs.cameras}


def _spaces(description: Description) -> tuple[Dict, Box]:
    observed, types = _observed(description), description.array_types
    for name in (*observed, *(types.keys() - set(observed.values()))):
        if "/" in name or "\0" in name or not name.strip("."):
            raise DatasetError(f"Minari cannot hold an array called {name!r}")
    space = Dict({name: _space(types[key]) for name, key in observed.items()})
    extremes = [abs(value) for name in ("min", "max") for value in description.statistics[ACTION][name]]
    return space, _space(types[ACTION], 1.0 if max(extremes) <= 1 else np.inf)


def _space(array_type: ArrayType, most: float = np.inf) -> Box:
    dtype = np.dtype(array_type.dtype)
    if dtype.kind == "f":
        return Box(-most, most, array_type.shape, dtype.type)
    if dtype.kind not in "iu":
        raise DatasetError(f"Minari cannot hold observations or actions of type {dtype}")
    limits = np.iinfo(dtype)
    return Box(limits.min, limits.max, array_type.shape, dtype.type)


def _environment(description: Description) -> EnvSpec | None:
    """Return how Gymnasium makes the environment; None if the dataset has no or several, or Gymnasium has none."""
    environments = list(description.needs.environments or {})
    if len(environments) != 1:
        return None
    (env_id,) = environments
    if env_id.startswith(_OWN):  # Gymnasium imports `envs`, which registers the id, when it makes the environment
        named = {"id": f"envs:{env_id}"}
        return EnvSpec(env_id, "gymnasium:make", order_enforce=False, disable_env_checker=True, kwargs=named)
    try:
        return gymnasium.spec(env_id)
    except gymnasium.error.Error:
        return None


def _buffer(contents: Contents, number: int) -> EpisodeBuffer:
    arrays, observed = contents.arrays(number), _observed(contents.description)
    length, metadata = contents.dataset.episodes[number].length, contents.dataset.episodes[number].metadata
    is_last, success = np.arange(length) == length - 1, bool(metadata["success"])
    others = arrays.keys() - {ACTION, *observed.values()}
    infos: dict[str, Any] = {key: _with_last_again(arrays[key]) for key in sorted(others)}
    return EpisodeBuffer(
        id=number,
        seed=metadata["seed"],
        options={"instruction": contents.instruction(number)},
        observations={name: _with_last_again(arrays[key]) for name, key in observed.items()},
        actions=arrays[ACTION],
        rewards=contents.rewards(number),
        terminations=is_last & success,
        truncations=is_last & (not success),
        infos=infos,
    )


def _with_last_again(values: NDArray[Any]) -> NDArray[Any]:
    """Return `values` (T, …) with the last row twice, (T + 1, …): Minari expects what follows the last action."""
    return np.concatenate([values, values[-1:]])
