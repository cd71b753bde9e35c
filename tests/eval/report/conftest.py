"""Run folders made in no time, with as much in them as a report can show."""

import base64
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image
from run_folders import RECORD, changed, write_run

from envs.registration import find_environment
from eval.runs.media_paths import VIDEOS_FOLDER, video_path
from eval.runs.provenance import Source
from eval.runs.receipts import RECEIPTS_FILE
from eval.runs.record import Timing

PICK_PLACE = "SimScale/PickPlace-v0"


def image():
    """Returns a small picture, a PNG in base64."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def receipt(index):
    values = [{"name": "ee_position", "unit": "m", "frame": "world", "values": [0.1, 0.25, None]}]
    return {
        "episode_index": index,
        "seed": index,
        "instruction": "pick up the red cube",
        "digest": "cd" * 32,
        "vectors": {"state": values},
        "images": {"front": image(), "wrist": image()},
        "actions": [[0.5, -0.5, 0.0, 1.0]] * 4,
    }


@pytest.fixture(scope="session")
def record():
    """The record of a run in a real environment, without its number of episodes."""
    return replace(
        RECORD,
        environment=find_environment(PICK_PLACE).offer(),
        source=Source(commit="0123456789abcdef" * 2, dirty=True),
        timing=Timing(started="2026-01-02T03:04:05+00:00", seconds=12.5, episodes_per_second=4.0),
    )


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """A video of 64 by 64 pixels that takes half a second."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    writer = imageio_ffmpeg.write_frames(str(path), (64, 64), fps=20, macro_block_size=2)
    writer.send(None)
    for shade in range(0, 200, 20):
        writer.send(np.full((64, 64, 3), shade, np.uint8).tobytes())
    writer.close()
    return path


@pytest.fixture
def make_run(tmp_path, monkeypatch, record, clip):
    """Makes a run folder from one character for each episode: + success, - failure, E error.

    Keywords besides those of `write_run` change the record, as `run_folders.changed` says.
    """
    monkeypatch.chdir(tmp_path)

    def make(name, outcomes, *, videos=0, receipts=None, planned=None, first_seed=0, results=None, **changes):
        options = {"planned": planned, "first_seed": first_seed, "results": results}
        folder = write_run(Path(name), outcomes, record=changed(record, **changes), **options)
        given = [receipt(0), receipt(1)] if receipts is None else receipts
        (folder / RECEIPTS_FILE).write_text(json.dumps({"schema_version": 2, "receipts": given}))
        (folder / VIDEOS_FOLDER).mkdir()
        for index in range(videos):
            shutil.copy(clip, video_path(folder / VIDEOS_FOLDER, index))
        return folder

    return make
