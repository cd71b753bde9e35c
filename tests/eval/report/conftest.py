"""Run folders made in no time, with as much in them as a report can show."""

import base64
import json
import shutil
from dataclasses import replace
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from imageio.v3 import imwrite

from eval.assembly import environment_contract
from eval.observers.video import video_path
from eval.results import EPISODES_FILE, RECORD_FILE, EpisodeResult, RunRecord, write_results

OUTCOMES = {"+": "success", "-": "failure", "E": "error"}
PICK_PLACE = "SimScale/PickPlace-v0"
IMAGE = base64.b64encode(imwrite("<bytes>", np.zeros((8, 8, 3), np.uint8), extension=".png")).decode()


def episode(index, seed, outcome, failure="dropped"):
    return EpisodeResult(
        episode_index=index,
        seed=seed,
        instruction="pick up the red cube",
        target="red",
        status=OUTCOMES[outcome],
        success_once=outcome == "+",
        success_held=None,
        success_at_end=None,
        steps=30 + index,
        return_=float(outcome == "+"),
        stage="placed",
        failure=None if outcome == "+" else failure,
        digest="ab" * 32,
    )


def receipt(index):
    return {
        "episode_index": index,
        "seed": index,
        "instruction": "pick up the red cube",
        "digest": "cd" * 32,
        "state": [{"name": "ee_position", "unit": "m", "frame": "world", "values": [0.1, 0.25, None]}],
        "images": {"front": IMAGE, "wrist": IMAGE},
        "actions": [[0.5, -0.5, 0.0, 1.0]] * 4,
    }


@pytest.fixture(scope="session")
def record():
    """The record of a run without its number of episodes."""
    scene = environment_contract(PICK_PLACE).environments[PICK_PLACE]
    return RunRecord(
        config={"model": "bc", "checkpoint": "my checkpoints/bc", "env": "pick-place", "terminate_on_success": True},
        resolved={"environment": PICK_PLACE, "num_envs": 16},
        source={"commit": "0123456789abcdef" * 2, "dirty": True},
        fingerprint={"machine": "x86_64", "libraries": {"mujoco": "4.0.0"}, "gl_renderer": "llvmpipe"},
        checkpoint_digest="5bce" * 16,
        contract={"environments": {PICK_PLACE: scene}, "max_episode_steps": 150},
        timing={"started": "2026-01-02T03:04:05+00:00", "seconds": 12.5, "episodes_per_second": 4.0},
        receipts=[receipt(0), receipt(1)],
        summary={"episodes": 0},
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
    """Makes a run folder from one character for each episode: + success, - failure, E error."""
    monkeypatch.chdir(tmp_path)

    def make(name, outcomes, *, films=0, planned=None, first_seed=0, results=None, **changes):
        folder = Path(name)
        folder.mkdir(parents=True)
        parts = {part: {**getattr(record, part), **change} for part, change in changes.items() if part in _MERGED}
        others = {part: change for part, change in changes.items() if part not in _MERGED}
        changed = replace(record, **parts, **others)
        resolved = {**changed.resolved, "episodes": planned or len(outcomes)}
        (folder / RECORD_FILE).write_text(json.dumps(vars(replace(changed, resolved=resolved))))
        episodes = [episode(index, first_seed + index, outcome) for index, outcome in enumerate(outcomes)]
        write_results(folder / EPISODES_FILE, results or episodes)
        (folder / "videos").mkdir()
        for index in range(films):
            shutil.copy(clip, video_path(folder / "videos", index))
        return folder

    return make


_MERGED = ("config", "resolved", "contract", "fingerprint", "timing")
