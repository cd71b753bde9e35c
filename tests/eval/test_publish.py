"""The ledger of published numbers: once for each checkpoint, and nothing that should not be there."""

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "publish.py"
FIRST = 900_000


@pytest.fixture
def publish(tmp_path, monkeypatch, capsys):
    """Publishes over four of the published seeds into a ledger of its own; returns exit code, messages and lines."""
    spec = importlib.util.spec_from_file_location("publish", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PUBLISHED_SEEDS", range(FIRST, FIRST + 4))
    monkeypatch.setattr(module, "LEDGER", tmp_path / "published.jsonl")

    def run(checkpoint):
        monkeypatch.setattr(sys, "argv", ["publish", "--checkpoint", str(checkpoint), "--env", "reach"])
        code = module.main()
        return code, capsys.readouterr().err, module.read_ledger()

    return run


def test_a_checkpoint_is_scored_once(publish, make_checkpoint, monkeypatch):
    from envs.vector_env import TaskVectorEnv

    checkpoint = make_checkpoint("bc-image")
    code, _, (line,) = publish(checkpoint)
    assert code == 0
    assert (line["summary"]["episodes"], line["summary"]["errors"]) == (4, 0)
    assert line["fingerprint"]["gl_renderer"]  # what drew the images that it was scored on
    monkeypatch.delattr(TaskVectorEnv, "step")
    assert publish(checkpoint) == (0, "already in the ledger; a second look would be a choice\n", [line])


def test_a_checkpoint_that_was_trained_on_published_seeds_is_refused(publish, make_checkpoint):
    trained = {"seeds": {"first": FIRST + 2, "last": FIRST + 9, "count": 8}}
    code, message, lines = publish(make_checkpoint("bc", trained))
    assert (code, lines) == (2, [])
    assert "2 of 4 episodes, seeds 900002 to 900003, lie in what the checkpoint was trained on" in message


def test_what_has_no_weights_is_refused(publish):
    assert publish("scripted") == (
        2,
        "error: expected the folder of a checkpoint, scripted has no weights to freeze\n",
        [],
    )


def test_a_machine_that_fails_publishes_nothing(publish, make_checkpoint, monkeypatch):
    from envs.vector_env import TaskVectorEnv

    def fail(self, actions, active):
        raise OSError("the machine is on fire")

    with monkeypatch.context() as context:
        context.setattr(TaskVectorEnv, "step", fail)
        code, message, lines = publish(make_checkpoint("bc"))
    assert (code, lines) == (2, [])
    assert "4 episodes could not be run; nothing is published" in message
