"""The place in which the mistakes of this folder are made."""

import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from mistake import CANARY  # noqa: E402

import simscaleai.train  # noqa: E402
from eval import collect, rollout  # noqa: E402

UNSEEN = """
from dataclasses import replace
from point_world import REGISTRATION as POINT, SPEC as OF_POINT

SPEC = replace(OF_POINT, env_id="Test/Unseen-v0", film_cameras=())
REGISTRATION = replace(POINT, name="unseen", env_id=SPEC.env_id, offer=lambda: SPEC)
"""
"""Module of an environment that cannot be filmed."""


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A dataset, a checkpoint trained on it, two runs, and a package whose entry points are of little use."""
    folder = tmp_path_factory.mktemp("made")
    reach = ["--env", "reach", "--episodes", "2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert collect.main([*reach, "--cameras", "--output", "data"]) == 0
        train = ["--model", "bc", "--dataset", "data", "--output", "bc", "--steps", "1", "--validation-fraction", "0"]
        assert simscaleai.train.main([*train, "--model-arguments", "hidden_dim=8"]) == 0
        for name in ("run", "other"):
            assert rollout.main(["--model", "zero", *reach, "--output", name]) == 0
    (folder / "file").write_text("precious")
    (folder / "full").mkdir()
    (folder / "full/file").write_text("precious")
    (folder / f"{CANARY}.py").write_text("from pathlib import Path\n\nPath('imported').touch()\n")
    (folder / "unseen.py").write_text(UNSEEN)
    info = folder / "mistaken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mistaken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[simscaleai.envs]\nbroken = no_module:REGISTRATION\nunseen = unseen:REGISTRATION\n"
        "[simscaleai.policies]\nbroken-policy = no_module:Policy\n"
    )
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A copy of what was made, to damage; the working directory, also for imports."""
    monkeypatch.syspath_prepend(str(HERE.parent / "eval/support"))  # the module `point_world`
    folder = tmp_path / "place"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture
def no_gl(monkeypatch):
    """Every GL context fails, as on a machine without a display and without MUJOCO_GL."""
    for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
