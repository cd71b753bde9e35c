"""Folders with several runs, made in no time, and a server that shows one."""

import shutil
import threading
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from run_folders import RECORD, changed, with_summary, write_run

from eval.runs.media_paths import TRACES_FOLDER, VIDEOS_FOLDER, trace_path, video_path
from eval.view.__main__ import contents
from eval.view.server import ViewServer

STEPS = 30


def write_trace(path, steps=STEPS):
    """Writes a trace with the arrays that `eval.observers.trace` writes."""
    path.parent.mkdir(exist_ok=True)
    ramp = np.linspace(-1, 1, 3 * steps, dtype=np.float32).reshape(steps, 3)
    stages = ["start"] * 10 + ["grasped"] * 10 + ["dropped"] * (steps - 20)
    np.savez_compressed(
        path,
        **{"observation.state": ramp},
        intended_action=ramp[:, :2],
        executed_action=ramp[:, :2],
        reward=np.arange(steps, dtype=np.float64),
        success=np.arange(steps) >= steps - 1,
        stage=np.array(stages),
        look_steps=np.array([0, 4, 8]),
        chunks=np.zeros((3, 4, 2), np.float32),
    )


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """A video of 64 by 64 pixels with a frame before the first step of an episode and one after each step."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    writer = imageio_ffmpeg.write_frames(str(path), (64, 64), fps=20, macro_block_size=2)
    writer.send(None)
    for shade in range(STEPS + 1):
        writer.send(np.full((64, 64, 3), 8 * shade, np.uint8).tobytes())
    writer.close()
    return path


@pytest.fixture
def runs(tmp_path):
    """An empty folder for runs."""
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture
def make_run(runs, clip):
    """Makes a complete run from one character for each episode: + success, - failure, E error."""

    def make(name, outcomes, *, filmed=(), record=RECORD, first_seed=0, **changes):
        folder = write_run(
            runs / name, outcomes, record=with_summary(changed(record, **changes), outcomes), first_seed=first_seed
        )
        for index in filmed:
            (folder / VIDEOS_FOLDER).mkdir(exist_ok=True)
            shutil.copy(clip, video_path(folder / VIDEOS_FOLDER, index))
            write_trace(trace_path(folder / TRACES_FOLDER, index))
        return folder

    return make


@pytest.fixture
def serve():
    """Serves the runs of a folder, and returns the server."""
    servers = []

    def start(folder: Path):
        server = ViewServer(contents(folder).answer, 0)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
