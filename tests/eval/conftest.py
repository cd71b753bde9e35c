"""The point world for tests of the loop, and tiny checkpoints with random weights for the real environments."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))  # commands and worker processes import `point_world` by name

import point_world
from point_world import Homing, PointEnv

from eval.episodes.loop import rollout
from simscaleai.contract import union_of_needs

REACH = "SimScale/Reach-v0"
VLA = {"image_size": 40, "patch_size": 8, "embed_dim": 32, "num_heads": 2, "num_layers": 2, "state_dim": 20}

LEARNED = {
    "bc": ("bc", {"state_dim": 20, "hidden_dim": 32}, 1),
    "bc-image": ("bc", {"state_dim": 20, "hidden_dim": 32, "use_image": True, "image_size": 40}, 1),
    "vla-mlp": ("vla", VLA | {"action_horizon": 4}, 2),
    "vla-diffusion": ("vla", VLA | {"action_horizon": 4, "action_head_type": "diffusion"}, 4),
}
"""Name to model, arguments, and how many actions of a chunk are executed."""


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """The working directory of the test: an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Headless Chromium, one for all tests of a module."""
    from chromium import Browser

    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def run_point():
    """Runs a plan in the point world with so many slots; returns results, environment and policy.

    `disturb` may change environment and policy before the run.
    """

    def run(plan, num_slots, *, observers=(), probes=(), disturb=lambda env, policy: None, cameras=False, **options):
        policy = Homing(cameras=cameras)
        needs = [policy.needs, *(observer.needs for observer in observers)]
        env = PointEnv(num_slots, union_of_needs(needs), **options)
        disturb(env, policy)
        ends = options.get("terminate_on_success", True)
        return rollout(env, policy, plan, observers, probes=probes, terminate_on_success=ends), env, policy

    return run


@pytest.fixture
def point_environment(monkeypatch):
    """Registers the point world as the environment `point`."""
    from envs import registration

    monkeypatch.setattr(registration, "_REGISTERED", dict(registration._REGISTERED))
    registration.register_environment(point_world.REGISTRATION)
    return point_world.REGISTRATION


@pytest.fixture
def point_package(tmp_path_factory, monkeypatch):
    """Installs the point world as the environment `point` of another package. Worker processes find it, too."""
    site = tmp_path_factory.mktemp("site")
    info = site / "point_world-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: point-world\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[simscaleai.envs]\npoint = point_world:REGISTRATION\n")
    monkeypatch.syspath_prepend(site)
    folders = [site, Path(point_world.__file__).parent, Path(__file__).resolve().parents[2]]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, folders)))


@pytest.fixture
def make_checkpoint(tmp_path):
    """Writes a checkpoint with random weights that serves the environment."""

    def make(name, training=None, env_id=REACH):
        import torch

        from envs.registration import find_environment
        from simscaleai.checkpoint import save_checkpoint
        from simscaleai.models.registry import create_model
        from simscaleai.processing import Processor

        model_name, arguments, n_action_steps = LEARNED[name]
        spec = find_environment(env_id).offer()
        cameras = {"front": (40, 40)} if "image_size" in arguments else {}
        needs = spec.needs("state", cameras=cameras, instruction=model_name == "vla")
        size = needs.vectors["state"].size
        arguments = arguments | {"state_dim": size}
        vector = {"min": [-1.0] * size, "max": [1.0] * size, "mean": [0.0] * size, "std": [1.0] * size}
        statistics = {"observation.state": vector, "action": {key: values[:4] for key, values in vector.items()}}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = create_model(model_name, **arguments)
        save_checkpoint(
            tmp_path / name,
            model=model,
            model_name=model_name,
            model_arguments=arguments,
            needs=needs,
            processor=Processor.fit(needs, statistics),
            training=training or {},
            n_action_steps=n_action_steps,
        )
        return tmp_path / name

    return make
