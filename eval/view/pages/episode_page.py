"""What the page of one episode shows besides its line: the trace of its steps, and what the policy got first."""

from __future__ import annotations

import base64
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.runs.media_paths import TRACES_FOLDER, trace_path
from eval.runs.receipts import RECEIPTS_FILE, read_receipts
from eval.runs.run import Run
from eval.view.folder_files import checked_file
from simscaleai.contract import EnvSpec
from simscaleai.errors import SimScaleError

_MOST_TRACE = 50_000_000  # [bytes], also unpacked
_MOST_RECEIPTS = 50_000_000  # [bytes]
_MOST_POINTS = 2000  # of a line in a plot
_MOST_LINES = 64  # of a vector
_PNG = b"\x89PNG\r\n"

_DAMAGE = (
    *(ValueError, KeyError, OSError, EOFError, MemoryError, NotImplementedError, OverflowError, RuntimeError),
    *(SyntaxError, TypeError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""What NumPy and zipfile raise on damaged files."""

Plot = dict[str, Any]


def episode_page(run: Run, index: int, root: Path) -> dict[str, Any]:
    """Return the details of the episode with this index as plain JSON data.

    Args:
        run: Its run.
        index: `episode_index` of the episode.
        root: Folder outside of which nothing is read.
    """
    return {"trace": _trace_or_reason(run, index, root), "receipt": _receipt_or_reason(run, index, root)}


def _trace_or_reason(run: Run, index: int, root: Path) -> dict[str, Any] | None:
    path = trace_path(run.folder / TRACES_FOLDER, index)
    if not path.exists():
        return None
    try:
        return _trace(read_trace(checked_file(root, path, _MOST_TRACE)), run.record.environment)
    except SimScaleError as error:
        return {"reason": str(error)}
    except _DAMAGE as error:
        return {"reason": f"{path.name} is no trace of an episode ({type(error).__name__})"}


def read_trace(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a trace of unknown origin, see `eval.observers.episode_trace.EpisodeTrace`.

    Raises:
        SimScaleError: If the file claims more than it holds, or unpacks to too much.
        Exception: One of several, if it is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > _MOST_TRACE:
            raise SimScaleError(f"{path.name} unpacks to more than {_MOST_TRACE} bytes")
        return {
            member.filename.removesuffix(".npy"): _array(archive, member)
            for member in members
            if member.filename.endswith(".npy")
        }


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    """Return one array, after its header was compared with the size of the file."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = header(file)
        if math.prod(shape) * kind.itemsize > member.file_size:
            raise SimScaleError(f"{member.filename} claims to hold more than it does")
    with archive.open(member) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _trace(arrays: dict[str, NDArray[Any]], spec: EnvSpec) -> dict[str, Any]:
    steps = len(arrays["reward"])
    stride = max(1, -(-steps // _MOST_POINTS))
    plots = [
        {**plot, "lines": [_numbers(line[::stride]) for line in plot["lines"]]} for plot in _plots(arrays, spec, steps)
    ]
    return {
        "steps": steps,
        "stride": stride,
        "plots": plots,
        "events": list(_events(arrays, steps)),
        "looks": arrays["look_steps"].reshape(-1).astype(int).tolist()[:_MOST_POINTS],
    }


def _plots(arrays: dict[str, NDArray[Any]], spec: EnvSpec, steps: int) -> Iterator[Plot]:
    """Yield one plot for each feature: action first, then reward, then the observation."""
    executed, intended = arrays["executed_action"], arrays["intended_action"]
    names = list(spec.action.names)
    yield _plot("executed action", spec.action.meaning, executed, steps, names)
    if executed.shape == intended.shape and not np.array_equal(executed, intended, equal_nan=True):
        yield _plot("intended action", spec.action.meaning, intended, steps, names)
    yield _plot("reward", "", arrays["reward"].reshape(steps, 1), steps, ["reward"])
    for key, values in arrays.items():
        if key.startswith("observation."):
            yield from _vector_plots(key.removeprefix("observation."), values, spec, steps)


def _vector_plots(key: str, values: NDArray[Any], spec: EnvSpec, steps: int) -> Iterator[Plot]:
    layout = spec.vectors.get(key)
    if layout is None or values.shape != (steps, layout.size):
        yield _plot(key, "", values, steps, [])
        return
    for feature in layout.features:
        yield _plot(feature.name, feature.unit, layout.get(values, feature.name), steps, [])


def _plot(name: str, unit: str, values: NDArray[Any], steps: int, labels: list[str]) -> Plot:
    columns = values.astype(np.float64).reshape(steps, -1).T[:_MOST_LINES]
    if len(labels) != len(columns):
        labels = ["xyz"[number] if len(columns) == 3 else str(number) for number in range(len(columns))]
    return {"name": name, "unit": unit, "labels": labels, "lines": columns}


def _events(arrays: dict[str, NDArray[Any]], steps: int) -> Iterator[tuple[int, str]]:
    """Yield each change of the stage and the first success: after how many steps it can be seen, and its name."""
    before = ""
    for step, stage in enumerate(arrays["stage"].astype(str).reshape(steps).tolist()):
        if stage != before and stage:
            yield step + 1, stage
        before = stage
    succeeded = np.flatnonzero(arrays["success"].reshape(steps))
    if len(succeeded):
        yield int(succeeded[0]) + 1, "success"


def _numbers(line: NDArray[np.float64]) -> list[float | None]:
    """Return five digits of each number; None for one that is not finite."""
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in line.tolist()]


def _receipt_or_reason(run: Run, index: int, root: Path) -> dict[str, Any] | None:
    path = run.folder / RECEIPTS_FILE
    if not path.exists():
        return None
    try:
        checked_file(root, path, _MOST_RECEIPTS)
        found = next((each for each in read_receipts(run.folder) if each.episode_index == index), None)
    except SimScaleError as error:
        return {"reason": str(error).replace(str(root), root.name)}
    if found is None:
        return None
    return asdict(found) | {"images": {name: text for name, text in found.images.items() if _is_png(text)}}


def _is_png(text: str) -> bool:
    try:
        return base64.b64decode(text, validate=True).startswith(_PNG)
    except ValueError:
        return False
