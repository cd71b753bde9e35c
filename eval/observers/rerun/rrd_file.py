"""The content of an `.rrd` file: one episode over time, for the Rerun viewer.

There are two time lines: `step`, the number of control steps taken, and `time`, in seconds. The entities are

* `camera/NAME`: the picture of each film camera, from before the first step to after the last one
* `look/NAME`: the image that the policy got from a camera, whenever it was asked
* `observation/KEY/FEATURE`: each feature of the vectors that the policy reads, before the step
* `action/executed`, `action/intended`: the action of the step, after and before probes and clipping
* `chunk`: the answer of the policy, a row for each action, whenever it was asked
* `reward`, `success`, `event`: what the step led to, one step later, where the pictures show it
* `instruction`: the instruction, if there is one

The property `episode` of the recording has its index, seed and outcome.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.slots import Begun
from eval.episodes.results import EpisodeResult
from eval.observers.episode_trace import EpisodeTrace
from simscaleai.contract import EnvSpec, Feature
from simscaleai.errors import SimScaleError

Path = tuple[str, ...]
"""Path of an entity."""


def import_rerun() -> Any:
    """Return the library.

    Raises:
        SimScaleError: If it is not installed, or switched off.
    """
    if os.environ.get("RERUN", "").lower() in ("0", "false", "off"):
        raise SimScaleError(f"RERUN={os.environ['RERUN']} switches recordings off; unset it, or leave out --rerun")
    try:
        import rerun
        from rerun import RecordingStream  # noqa: F401  # which another package of this name lacks
    except ImportError as error:
        raise SimScaleError(f"--rerun needs the package rerun-sdk ({error}): pip install 'simscaleai[rerun]'") from None
    return rerun


@dataclass
class EpisodeContent:
    """What was collected about an episode."""

    begun: Begun
    trace: EpisodeTrace
    pictures: list[Mapping[str, bytes]] = field(default_factory=list)
    """Before the first step and after every step: film camera to picture, a PNG."""
    looks: dict[int, Mapping[str, bytes]] = field(default_factory=dict)
    """Step at which the policy was asked, to camera and image, a PNG."""

    def add_look(self, images: Mapping[str, bytes]) -> None:
        """Add the images that the policy gets now."""
        self.looks[len(self.trace.rows)] = images


def rrd_content(content: EpisodeContent, result: EpisodeResult, spec: EnvSpec, policy: str) -> bytes:
    """Return the bytes of the file of one episode.

    Args:
        content: What was collected about it.
        result: Its result.
        spec: Its environment.
        policy: Name of the policy, for the title.
    """
    recording = _Recording(spec)
    recording.describe(result, policy)
    recording.add_pictures("camera", dict(enumerate(content.pictures)))
    recording.add_pictures("look", content.looks)
    plots = _add_trace(recording, content.trace, spec)
    recording.add_texts(("event",), list(_events(content, result)))
    return recording.finish(plots)


class _Recording:
    """A recording that is being made in memory."""

    def __init__(self, spec: EnvSpec) -> None:
        self._library, self._hz = import_rerun(), spec.control_hz
        # The default identity is that of the process, and the viewer shows recordings of one identity as one.
        application = re.sub(r"[^\w.-]", "-", spec.env_id)
        self._stream = self._library.RecordingStream(application, recording_id=str(uuid.uuid4()))
        self._sink = self._stream.binary_stream()
        self._pictures: list[Path] = []

    def describe(self, result: EpisodeResult, policy: str) -> None:
        """Add title, properties and instruction."""
        outcome, policy, instruction = _outcome(result), _printable(policy), _printable(result.instruction)
        index, seed = result.episode_index, result.seed
        self._stream.send_recording_name(f"{policy}, episode {index}, seed {seed}: {outcome}")
        about = {"policy": policy, "index": index, "seed": str(seed), "instruction": instruction, "outcome": outcome}
        self._stream.send_property("episode", self._library.AnyValues(**about))
        if instruction:
            self._once(("instruction",), self._library.TextDocument(instruction))

    def add_pictures(self, kind: str, pictures: Mapping[int, Mapping[str, bytes]]) -> None:
        """Add `pictures`, which maps a step to cameras and PNG files."""
        for camera in next(iter(pictures.values()), {}):
            files = [each[camera] for each in pictures.values()]
            columns = self._library.EncodedImage.columns(blob=files, media_type=["image/png"] * len(files))
            self._over_time((kind, camera), list(pictures), columns)
            self._pictures.append((kind, camera))

    def add_lines(self, path: Path, steps: Sequence[int], values: NDArray[Any], names: Sequence[str]) -> None:
        """Add numbers, `values` of shape (T, size) with the name of each column."""
        self._once(path, self._library.SeriesLines(names=list(map(_printable, names))))
        self._over_time(path, steps, self._library.Scalars.columns(scalars=values.astype(np.float64)))

    def add_arrays(self, path: Path, steps: Sequence[int], arrays: NDArray[Any], names: Sequence[str]) -> None:
        """Add an array at each step, `arrays` of shape (T, ...) with the names of the other dimensions."""
        for step, array in zip(steps, arrays, strict=True):
            tensor = self._library.Tensor(array, dim_names=list(names))
            self._over_time(path, [step], self._library.Tensor.columns(data=tensor.data.as_arrow_array()))

    def add_texts(self, path: Path, texts: Sequence[tuple[int, str]]) -> None:
        """Add each text at its step."""
        columns = self._library.TextLog.columns(text=[_printable(text) for _, text in texts])
        self._over_time(path, [step for step, _ in texts], columns)

    def finish(self, plots: Sequence[Path]) -> bytes:
        """Return the content of the file, which opens with pictures and texts beside the plots of some entities."""
        self._stream.send_blueprint(self._layout(plots))
        data: bytes = self._sink.read()
        return data

    def _layout(self, plots: Sequence[Path]) -> Any:
        of = self._library.blueprint
        pictures = [of.Spatial2DView(origin=self._address(path), name=_title(path)) for path in self._pictures]
        lines = [of.TimeSeriesView(origin=self._address(path), name=_title(path)) for path in plots]
        texts = [
            of.TextDocumentView(origin="/instruction", name="instruction"),
            of.TextLogView(origin="/event", name="event"),
        ]
        seen = [of.Grid(*pictures)] if pictures else []
        parts = of.Horizontal(of.Vertical(*seen, of.Horizontal(*texts)), of.Grid(*lines))
        return of.Blueprint(parts, collapse_panels=True)

    def _once(self, path: Path, content: Any) -> None:
        self._stream.log(self._address(path), content, static=True, strict=True)

    def _over_time(self, path: Path, steps: Sequence[int], columns: Any) -> None:
        """Add columns with one row for each of `steps`."""
        if len(steps):
            times = [
                self._library.TimeColumn("step", sequence=steps),
                self._library.TimeColumn("time", duration=[step / self._hz for step in steps]),
            ]
            self._stream.send_columns(self._address(path), times, columns, strict=True)

    def _address(self, path: Path) -> str:
        """Return the path of an entity as the library writes it, whatever its names contain."""
        address: str = self._library.new_entity_path(list(map(_printable, path)))
        return address


def _add_trace(recording: _Recording, trace: EpisodeTrace, spec: EnvSpec) -> list[Path]:
    """Add the numbers of each step: actions, chunks, observations, what the steps led to. Return what to plot."""
    arrays, before = trace.arrays(), range(len(trace.rows))
    after = [step + 1 for step in before]
    for kind in ("executed", "intended"):
        recording.add_lines(("action", kind), before, arrays[f"{kind}_action"], spec.action.names)
    recording.add_arrays(("chunk",), arrays["look_steps"].tolist(), arrays["chunks"], ["action", "entry"])
    observed: list[Path] = []
    for key, layout in trace.needs.vectors.items():
        for feature in layout.features:
            values = layout.get(arrays[f"observation.{key}"], feature.name)
            observed.append(("observation", key, feature.name))
            recording.add_lines(observed[-1], before, values, _entry_names(feature))
    for name in ("reward", "success"):
        recording.add_lines((name,), after, arrays[name].reshape(-1, 1), [name])
    return [("action", "executed"), *observed, ("reward",), ("success",)]


def _title(path: Path) -> str:
    """Return the title of a view, short enough for a small one."""
    return _printable(path[-1] if path[0] in ("camera", "observation") else " ".join(path))


def _outcome(result: EpisodeResult) -> str:
    """Return "success", or the class of the failure or error."""
    return result.failure or result.status


def _printable(text: str) -> str:
    """Return `text` with half a character (a lone surrogate) as its escape sequence, as UTF-8 requires."""
    return text.encode(errors="backslashreplace").decode()


def _entry_names(feature: Feature) -> list[str]:
    """Return the name of each entry of a feature, with its unit."""
    numbers = [""] if feature.size == 1 else [f".{number}" for number in range(feature.size)]
    return [f"{feature.name}{number}" + (f" [{feature.unit}]" if feature.unit else "") for number in numbers]


def _events(content: EpisodeContent, result: EpisodeResult) -> Iterator[tuple[int, str]]:
    """Yield the number of steps and a text for each stage, the first success, and the end."""
    rows = content.trace.rows
    stages = [content.begun.stage, *(row["stage"] for row in rows)]
    for steps, stage in enumerate(stages):
        if stage and (steps == 0 or stage != stages[steps - 1]):
            yield steps, stage
    succeeded = [bool(row["success"]) for row in rows]
    if any(succeeded):
        yield succeeded.index(True) + 1, "success"
    yield len(rows), f"end: {_outcome(result)}"
