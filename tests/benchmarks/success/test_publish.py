"""The ledger of published numbers: once for each checkpoint, and nothing that should not be there."""

import sys
from dataclasses import replace

import pytest
import torch

from benchmarks.success import publish
from envs import registration
from simscaleai.checkpoint import save_checkpoint
from simscaleai.models.registry import create_model
from simscaleai.processing import Affine, Processor

FIRST = 900_000
REACH = registration.find_environment("reach")


class BurningMachine:
    """An environment whose simulation always fails."""

    def __init__(self, env, spec):
        self.env, self.spec = env, spec

    def __getattr__(self, name):
        return getattr(self.env, name)

    def step(self, slots, actions):
        raise OSError("the machine is on fire")


@pytest.fixture
def burning(monkeypatch):
    """Registers an environment like Reach whose simulation always fails."""
    monkeypatch.setattr(registration, "_REGISTERED", dict(registration._REGISTERED))
    spec = replace(REACH.offer(), env_id="Test/Burning-v0")
    made = registration.Registration(
        "burning",
        spec.env_id,
        offer=lambda: spec,
        make=lambda *arguments: BurningMachine(REACH.make(*arguments), spec),
    )
    registration.register_environment(made)
    return made


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Publishes over four of the published seeds into a ledger of its own; returns exit code, messages and lines."""
    monkeypatch.setattr(publish, "PUBLISHED_SEEDS", range(FIRST, FIRST + 4))
    monkeypatch.setattr(publish, "LEDGER", tmp_path / "published.jsonl")

    def run_command(checkpoint, env="reach"):
        monkeypatch.setattr(sys, "argv", ["publish", "--checkpoint", str(checkpoint), "--env", env])
        code = publish.main()
        return code, capsys.readouterr().err, publish.read_ledger()

    return run_command


def make_checkpoint(folder, environment=REACH, seeds=None, image_size=None):
    """Write a policy with random weights that sees the state, and images where a size is given."""
    cameras = {"front": (image_size, image_size)} if image_size else {}
    needs = environment.offer().needs("state", cameras=cameras)
    size = needs.vectors["state"].size
    arguments = {"state_dim": size, "hidden_dim": 8}
    arguments |= {"use_image": True, "image_size": image_size} if image_size else {}
    torch.manual_seed(0)
    save_checkpoint(
        folder,
        model=create_model("bc", **arguments),
        model_name="bc",
        model_arguments=arguments,
        needs=needs,
        processor=Processor(
            vectors={"state": Affine((0.0,) * size, (1.0,) * size)},
            cameras=tuple(cameras),
            image_size=cameras.get("front"),
        ),
        training={"seeds": seeds} if seeds else {},
    )
    return folder


def test_a_checkpoint_is_scored_once(run, tmp_path):
    checkpoint = make_checkpoint(tmp_path / "bc-image", image_size=36)
    code, _, (line,) = run(checkpoint)
    assert code == 0
    assert (line["checkpoint"], line["environment"]) == ("bc-image", "SimScale/Reach-v0")
    assert (line["summary"]["episodes"], line["summary"]["errors"]) == (4, 0)
    assert line["scene"] == REACH.offer().digest
    assert line["fingerprint"]["gl_renderer"]  # what drew the images that it was scored on
    assert run(checkpoint) == (0, "already in the ledger; each checkpoint is evaluated only once\n", [line])


def test_a_checkpoint_that_was_trained_on_published_seeds_is_refused(run, tmp_path):
    seeds = {"first": FIRST + 2, "last": FIRST + 9, "count": 8}
    code, message, lines = run(make_checkpoint(tmp_path / "bc", seeds=seeds))
    assert (code, lines) == (2, [])
    assert "nothing is published of" in message
    assert (
        "2 of 4 episodes, seeds 900002 to 900003, are in the range of seeds that the checkpoint was trained" in message
    )


def test_what_has_no_weights_is_refused(run):
    message = "error: expected the folder of a checkpoint, scripted has no weights to freeze\n"
    assert run("scripted") == (2, message, [])


def test_a_machine_that_fails_publishes_nothing(run, tmp_path, burning):
    code, message, lines = run(make_checkpoint(tmp_path / "bc", burning), env="burning")
    assert (code, lines) == (2, [])
    assert "4 episodes could not be run, so nothing is published" in message
