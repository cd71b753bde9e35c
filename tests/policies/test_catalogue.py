"""`python -m policies`: what it says of a checkpoint is what was measured of these very weights."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import policies.__main__
import policies.catalogue
from policies.catalogue import checkpoint_entries
from policies.registry import BUILT_IN, shipped_checkpoints
from simscaleai.checkpoint import load_checkpoint
from simscaleai.models.registry import list_models

ROOT = Path(__file__).resolve().parents[2]
LEDGER = ROOT / "benchmarks" / "results" / "published.jsonl"


def test_entries_are_what_loading_finds():
    entries = {entry.name: entry for entry in checkpoint_entries()}
    assert list(entries) == [folder.name for folder in shipped_checkpoints()]
    lines = [json.loads(line) for line in LEDGER.read_text().splitlines()]
    for folder in shipped_checkpoints():
        entry, checkpoint = entries[folder.name], load_checkpoint(folder)
        assert entry.model == checkpoint.model_name
        assert entry.parameters == sum(tensor.numel() for tensor in checkpoint.model.state_dict().values())
        assert entry.n_action_steps == checkpoint.n_action_steps
        assert entry.action_horizon == getattr(checkpoint.model, "action_horizon", 1)
        for env_id, measured in entry.measured.items():
            found = [
                (line["summary"]["successes"], line["summary"]["episodes"], tuple(line["summary"]["wilson_95"]))
                for line in lines
                if (line["checkpoint_digest"], line["environment"]) == (checkpoint.digest, env_id)
            ]
            assert ([] if measured is None else [(measured.successes, measured.episodes, measured.interval)]) == found


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A shipped checkpoint, alone, that a test may change."""
    folder = Path(shutil.copytree(shipped_checkpoints()[0], tmp_path / "copy"))
    monkeypatch.setattr(policies.catalogue, "shipped_checkpoints", lambda: [folder])
    return folder


def test_success_belongs_to_the_very_weights_that_were_measured(copied, capsys):
    (entry,) = checkpoint_entries()
    assert all(entry.measured.values())
    weights = bytearray((copied / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copied / "model.safetensors").write_bytes(weights)
    (entry,) = checkpoint_entries()
    assert not any(entry.measured.values())
    assert policies.__main__.main([]) == 0
    out = capsys.readouterr().out
    assert "not measured" in out
    assert "Wilson" not in out


def test_the_list_names_everything_that_model_takes(capsys):
    assert policies.__main__.main([]) == 0
    out = capsys.readouterr().out
    for name in (*list_models(), *BUILT_IN, *(folder.name for folder in shipped_checkpoints())):
        assert f"\n  {name} " in out
    for entry in checkpoint_entries():
        for env_id, measured in entry.measured.items():
            text = "not measured" if measured is None else f"{measured.successes}/{measured.episodes} succeeded, "
            assert f"{env_id}: {text}" in out
    assert "presets debug, small, medium, large, xl" in out


def test_an_installation_without_a_ledger_says_so(monkeypatch, capsys):
    monkeypatch.setattr(policies.catalogue, "_LEDGER", "nowhere.jsonl")
    assert policies.__main__.main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "nowhere.jsonl" in line


def test_the_wheel_holds_the_ledger_where_it_is_looked_for():
    import tomllib

    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"]["benchmarks/results/published.jsonl"] == "simscaleai/assets/published.jsonl"


def test_the_list_builds_no_model_and_takes_no_time():
    code = (
        "import sys, time; began = time.process_time(); from policies.__main__ import main; main([]); "
        "print(time.process_time() - began, sorted({'mujoco', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, _, loaded = done.stdout.splitlines()[-1].partition(" ")
    assert loaded == "[]"
    assert float(seconds) < 1.0
