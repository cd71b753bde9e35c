from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from simscaleai.checkpoint import load_checkpoint
from simscaleai.contract import Feature, Layout
from simscaleai.data import Dataset
from simscaleai.errors import SimScaleError
from simscaleai.files import output_folder
from simscaleai.models import registry
from simscaleai.train import main
from simscaleai.training.config import TrainConfig
from simscaleai.training.record import intervals
from simscaleai.training.trainer import DivergedError, train

CAMERAS = ("front", "wrist")
SMALL_VLA = ("embed_dim=16", "num_heads=2", "num_layers=1", "patch_size=8", "lang_num_layers=1", "dropout=0.1")


@pytest.fixture(autouse=True)
def crashing_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._MODELS, "test_crashing", Crashing)


@pytest.fixture
def states(tmp_path: Path, make_needs: Any, make_dataset: Any) -> Path:
    return make_dataset(tmp_path / "states", make_needs(), episodes=20)


@pytest.fixture
def images(tmp_path: Path, make_needs: Any, make_dataset: Any) -> Path:
    return make_dataset(tmp_path / "images", make_needs(cameras=CAMERAS, size=16), episodes=8)


def config_for(dataset: Path, output: Path, **changes: Any) -> TrainConfig:
    base: dict[str, Any] = {"model": "bc", "steps": 12, "batch_size": 8, "warmup_steps": 2, "checkpoint_interval": 4}
    return TrainConfig(dataset=(dataset,), output=output, **(base | changes))


def vla_config(dataset: Path, output: Path, **changes: Any) -> TrainConfig:
    base = {"model": "vla", "model_arguments": SMALL_VLA, "action_horizon": 3, "auxiliary_weight": 0.5}
    return config_for(dataset, output, **(base | changes))


def metrics_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "minutes"} for row in csv.DictReader(file)]


class CrashError(Exception):
    """Stands for a power cut."""


class Crashing(nn.Module):
    """A small network with dropout whose forward pass fails when told to."""

    calls_left = 10**9

    def __init__(self, state_dim: int = 3, action_dim: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(state_dim, 8), nn.Dropout(0.2), nn.Linear(8, action_dim))

    def forward(self, batch: Any) -> dict[str, Tensor]:
        type(self).calls_left -= self.training
        if type(self).calls_left < 0:
            raise CrashError
        predicted = self.layers(batch["observations"]["state"])
        return {"loss": nn.functional.mse_loss(predicted, batch["actions"])}


def test_training_learns_and_its_checkpoint_acts(tmp_path: Path, states: Path) -> None:
    output = tmp_path / "out"
    config = config_for(states, output, steps=400, checkpoint_interval=100, ema_decay=0.95, learning_rate=3e-3)
    result = train(config)
    assert result.finished
    losses = [float(row["validation_loss"]) for row in metrics_of(output) if row["validation_loss"]]
    assert losses[-1] < 0.02
    checkpoint = load_checkpoint(output)
    dataset = Dataset(states)
    arrays = {"state": dataset.vectors("observation.state")}
    actions = checkpoint.processor.inverse_actions(checkpoint.model.predict(checkpoint.processor.observations(arrays)))
    assert np.abs(actions - dataset.vectors("action")).mean() < 0.15


def test_the_checkpoint_says_how_it_was_made(tmp_path: Path, states: Path) -> None:
    output = tmp_path / "out"
    train(config_for(states, output, use_environment_state=True, threads=1))
    checkpoint = load_checkpoint(output)
    record = checkpoint.training
    assert record["config"]["dataset"] == [str(states)]
    assert record["dataset"]["digest"] == Dataset(states).digest
    assert record["dataset"]["episodes"] == 20
    assert record["seeds"] == {"intervals": [[10**9, 10**9 + 19]], "count": 20}
    assert record["processes"] == 1
    assert (record["steps"], record["threads"]) == (12, 1)
    assert record["versions"]["torch"] == torch.__version__
    assert list(checkpoint.needs.vectors) == ["state", "environment_state"]
    assert checkpoint.needs.privileged == ("environment_state",)
    assert checkpoint.config.model_arguments["state_dim"] == 5


def test_training_starts_from_the_weights_and_normalisation_of_another_checkpoint(
    tmp_path: Path, images: Path, make_needs: Any, make_dataset: Any
) -> None:
    train(vla_config(images, tmp_path / "first"))
    needs = make_needs(cameras=CAMERAS, size=16, environments={"SimScale/Toy-v1": "d"})
    others = make_dataset(tmp_path / "others", needs, episodes=3, first_seed=7)
    still = {"steps": 1, "learning_rate": 1e-12, "weight_decay": 0, "initial_checkpoint": tmp_path / "first"}
    train(vla_config(others, tmp_path / "second", **still))
    first, second = load_checkpoint(tmp_path / "first"), load_checkpoint(tmp_path / "second")
    for name, weights in first.model.state_dict().items():
        torch.testing.assert_close(second.model.state_dict()[name], weights, rtol=0, atol=1e-6)
    assert second.processor == first.processor
    assert second.needs.environments == {"SimScale/Toy-v1": "d"}
    assert second.training["initial"] == {"digest": first.digest, "training": first.training}


def test_another_head_starts_anew_on_the_trained_rest(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(vla_config(images, tmp_path / "first"))
    arguments = (*SMALL_VLA, "action_head_type=diffusion")
    still = {"steps": 1, "learning_rate": 1e-12, "weight_decay": 0, "initial_checkpoint": tmp_path / "first"}
    train(vla_config(images, tmp_path / "second", model_arguments=arguments, **still))
    share = re.search(r"(\d+)% of the weights from", capsys.readouterr().out)
    assert share is not None
    assert 50 <= int(share[1]) < 100
    first, second = (load_checkpoint(tmp_path / name).model.state_dict() for name in ("first", "second"))
    shared = [name for name in second if not name.startswith("action_head")]
    assert shared
    for name in shared:
        torch.testing.assert_close(second[name], first[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"model_arguments": ("patch_size=8", "embed_dim=32", "num_heads=2", "num_layers=1")},
            r"only \d+% of the weights",
        ),
        (
            {"model": "bc", "auxiliary_weight": 0, "action_horizon": 1, "model_arguments": (), "image": False},
            'model: was "vla", is "bc"',
        ),
        ({"image": False}, "looks at images"),
    ],
)
def test_a_training_cannot_start_from_another_policy(tmp_path: Path, images: Path, changes: Any, text: str) -> None:
    train(vla_config(images, tmp_path / "first"))
    with pytest.raises(SimScaleError, match=text):
        train(vla_config(images, tmp_path / "second", initial_checkpoint=tmp_path / "first", **changes))


def test_a_vla_never_observes_the_privileged_vectors_that_help_to_train_it(tmp_path: Path, images: Path) -> None:
    output = tmp_path / "out"
    train(vla_config(images, output, n_action_steps=2))
    checkpoint = load_checkpoint(output)
    needs = checkpoint.needs
    assert (list(needs.vectors), needs.privileged) == (["state"], ())
    assert (needs.cameras, needs.instruction) == ({"front": (16, 16), "wrist": (16, 16)}, True)
    assert checkpoint.processor.state_dim == 3
    assert checkpoint.n_action_steps == 2
    assert not [name for name in load_file(output / "model.safetensors") if "auxiliary" in name]
    assert all(row["auxiliary_loss"] for row in metrics_of(output))
    observations = {"state": torch.zeros(2, 3), "image": torch.zeros(2, 6, 16, 16)}
    assert checkpoint.model.predict(observations, language="go").shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("changes", "cameras", "privileged"),
    [
        ({}, CAMERAS, ()),
        ({"image": False}, (), ()),
        ({"use_environment_state": True}, (), ("environment_state",)),
    ],
)
def test_options_decide_what_bc_sees(
    tmp_path: Path,
    make_needs: Any,
    make_dataset: Any,
    changes: Any,
    cameras: tuple[str, ...],
    privileged: tuple[str, ...],
) -> None:
    dataset = make_dataset(tmp_path / "data", make_needs(cameras=CAMERAS, size=36), episodes=3)
    train(config_for(dataset, tmp_path / "out", steps=1, **changes))
    checkpoint = load_checkpoint(tmp_path / "out")
    assert tuple(checkpoint.needs.cameras) == checkpoint.processor.cameras == cameras
    assert checkpoint.config.model_arguments["use_image"] == bool(cameras)
    assert checkpoint.needs.privileged == privileged
    assert checkpoint.needs.instruction is False


def test_switching_language_off_reaches_model_and_needs(tmp_path: Path, images: Path) -> None:
    train(vla_config(images, tmp_path / "out", steps=1, language=False))
    checkpoint = load_checkpoint(tmp_path / "out")
    assert checkpoint.needs.instruction is False
    assert checkpoint.config.model_arguments["use_language"] is False


def test_no_name_of_a_vector_is_special(tmp_path: Path, make_needs: Any, make_dataset: Any) -> None:
    needs = make_needs(vectors={"position": Layout((Feature("xyz", 3, "m", "world"),))})
    result = train(config_for(make_dataset(tmp_path / "data", needs), tmp_path / "out"))
    assert result.finished
    checkpoint = load_checkpoint(tmp_path / "out")
    assert list(checkpoint.needs.vectors) == ["position"]
    observations = checkpoint.processor.observations({"position": np.zeros((2, 3), np.float32)})
    assert checkpoint.model.predict(observations).shape == (2, 4)


def test_privileged_vectors_are_used_on_request_only(tmp_path: Path, make_needs: Any, make_dataset: Any) -> None:
    truth = {key: Layout((Feature(key, 3, "m", "world"),), privileged=True) for key in ("cube", "goal")}
    needs = make_needs(cameras=("front",), size=36, vectors=truth)
    dataset = make_dataset(tmp_path / "data", needs)
    train(config_for(dataset, tmp_path / "images", steps=1))
    assert load_checkpoint(tmp_path / "images").needs.keys == ("front",)
    train(config_for(dataset, tmp_path / "privileged", steps=1, use_environment_state=True))
    assert load_checkpoint(tmp_path / "privileged").needs.keys == ("cube", "goal")
    with pytest.raises(SimScaleError, match="nothing to observe"):
        train(config_for(dataset, tmp_path / "nothing", image=False))


def test_without_privileged_vectors_there_is_no_simulator_truth_to_use(
    tmp_path: Path, make_needs: Any, make_dataset: Any
) -> None:
    dataset = make_dataset(tmp_path / "data", make_needs(privileged=None, cameras=CAMERAS, size=36))
    for changes, text in (
        ({"use_environment_state": True}, "needs a dataset with a privileged vector"),
        ({"auxiliary_weight": 1.0}, "needs features with unit m in a privileged vector"),
    ):
        with pytest.raises(SimScaleError, match=text):
            train(config_for(dataset, tmp_path / "out", **changes))


def test_one_checkpoint_can_serve_two_environments(tmp_path: Path, make_needs: Any, make_dataset: Any) -> None:
    other = make_needs(environments={"SimScale/Other-v0": "d"}, privileged=None)
    folders = (
        make_dataset(tmp_path / "a", make_needs(), episodes=4),
        make_dataset(tmp_path / "b", other, episodes=4),
    )
    train(dataclasses.replace(config_for(folders[0], tmp_path / "out"), dataset=folders))
    environments = load_checkpoint(tmp_path / "out").needs.environments
    assert environments == {"SimScale/Toy-v0": "scene-digest", "SimScale/Other-v0": "d"}


def assert_same_training(first: Path, second: Path) -> None:
    for name in ("model.safetensors", "training_state.safetensors"):
        ours, theirs = load_file(first / name), load_file(second / name)
        assert ours.keys() == theirs.keys()
        for key, tensor in ours.items():
            assert torch.equal(tensor, theirs[key]), key
    assert [row["loss"] for row in metrics_of(first)] == [row["loss"] for row in metrics_of(second)]


@pytest.mark.parametrize("crashes_at", [1, 4, 7, 12])
def test_a_crashed_training_resumes_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, states: Path, crashes_at: int
) -> None:
    config = config_for(states, tmp_path / "whole", model="test_crashing", validation_fraction=0.2)
    train(config)
    config = dataclasses.replace(config, output=tmp_path / "broken", resume=True)
    monkeypatch.setattr(Crashing, "calls_left", crashes_at - 1)
    with pytest.raises(CrashError):
        train(config)
    monkeypatch.setattr(Crashing, "calls_left", 10**9)
    assert train(config).finished
    assert_same_training(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.parametrize("head", ["mlp", "diffusion"])
def test_a_vla_training_in_several_runs_gives_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: Path, head: str
) -> None:
    arguments = (*SMALL_VLA, f"action_head_type={head}")
    config = vla_config(images, tmp_path / "whole", model_arguments=arguments, augmentation=0.5)
    train(config)
    short = dataclasses.replace(config, output=tmp_path / "runs", resume=True, max_minutes=1e-9)
    results = [train(short) for _ in range(3)]
    assert [result.step for result in results] == [1, 2, 3]
    assert not any(result.finished for result in results)
    assert load_checkpoint(tmp_path / "runs").training["steps"] == 3
    assert train(dataclasses.replace(short, max_minutes=None)).finished
    for name in ("model.safetensors", "training_state.safetensors"):
        ours, theirs = load_file(tmp_path / "whole" / name), load_file(tmp_path / "runs" / name)
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items())


WAITING_AFTER_STEP_23 = """
import sys, time
from simscaleai.train import main
from simscaleai.training.log import TrainingLog

write = TrainingLog.write

def write_and_wait(log, step, *metrics):
    write(log, step, *metrics)
    while step == 23:
        time.sleep(1)

TrainingLog.write = write_and_wait
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_kill_9_and_resume_gives_the_same_bits(tmp_path: Path, images: Path) -> None:
    def words(output: str) -> list[str]:
        options = "--model vla --action-horizon 3 --steps 60 --batch-size 8 --checkpoint-interval 5 --threads 1"
        paths = ["--dataset", str(images), "--output", str(tmp_path / output), "--model-arguments", *SMALL_VLA]
        return [*options.split(), *paths, "--resume"]

    command = [sys.executable, "-m", "simscaleai.train"]
    subprocess.run([*command, *words("whole")], check=True, capture_output=True)
    metrics = tmp_path / "broken" / "metrics.csv"
    process = subprocess.Popen([sys.executable, "-c", WAITING_AFTER_STEP_23, *words("broken")])
    while process.poll() is None and not (metrics.exists() and "\n23," in metrics.read_text()):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -9
    subprocess.run([*command, *words("broken")], check=True, capture_output=True)
    assert_same_training(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.slow
def test_two_processes_train_to_the_weights_of_one(tmp_path: Path, states: Path) -> None:
    def command(output: str, *launcher: str) -> list[str]:
        options = "--model bc --steps 30 --batch-size 8 --warmup-steps 2 --threads 1 --model-arguments dropout=0"
        paths = ["--dataset", str(states), "--output", str(tmp_path / output)]
        return [sys.executable, "-m", *launcher, "simscaleai.train", *options.split(), *paths]

    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    one = subprocess.run(command("one"), check=True, capture_output=True, text=True)
    two = subprocess.run(command("two", *launcher), check=True, capture_output=True, text=True)
    assert one.stdout.count("30 of 30 steps") == two.stdout.count("30 of 30 steps") == 1
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for key, weights in ours.items():
        torch.testing.assert_close(theirs[key], weights, rtol=0, atol=2e-4)
    uneven = subprocess.run([*command("odd", *launcher), "--batch-size", "7"], capture_output=True, text=True)
    assert "--batch-size 7 cannot be shared by 2 processes" in uneven.stderr


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        MemoryError(),
    ],
)
def test_running_out_of_memory_is_one_line_and_keeps_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, states: Path, error: Exception
) -> None:
    config = config_for(states, tmp_path / "out", model="test_crashing", resume=True)
    train(dataclasses.replace(config, max_minutes=1e-9))
    digest = load_checkpoint(config.output).digest

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(Crashing, "forward", fail)
    with pytest.raises(SimScaleError, match=r"out of memory.*lower --batch-size 8 and add --resume"):
        train(config)
    assert load_checkpoint(config.output).digest == digest


def test_curves_for_tensorboard_continue_after_a_resume(tmp_path: Path, states: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = config_for(states, tmp_path / "out", tensorboard=True, resume=True, max_minutes=1e-9)
    train(config)
    train(dataclasses.replace(config, max_minutes=None))
    events = EventAccumulator(str(config.output / "tensorboard"))
    events.Reload()
    losses = {event.step: event.value for event in events.Scalars("loss")}
    rows = {int(row["step"]): float(row["loss"]) for row in metrics_of(config.output)}
    assert losses.keys() == rows.keys() == set(range(1, 13))
    np.testing.assert_allclose([losses[step] for step in rows], list(rows.values()), rtol=1e-4)
    assert [event.step for event in events.Scalars("validation_loss")] == [1, 4, 8, 12]


def test_resuming_what_is_finished_changes_nothing(tmp_path: Path, states: Path) -> None:
    config = config_for(states, tmp_path / "out", resume=True)
    first = train(config)
    digest = load_checkpoint(tmp_path / "out").digest
    again = train(config)
    assert (again.step, again.validation_loss) == (first.step, first.validation_loss)
    assert load_checkpoint(tmp_path / "out").digest == digest


def test_a_model_of_ones_own_trains_without_registration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, states: Path
) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "class Mine(nn.Module):\n"
        "    def __init__(self, state_dim, action_dim, width=2):\n"
        "        super().__init__()\n"
        "        self.layers = nn.Sequential(nn.Linear(state_dim, width), nn.Linear(width, action_dim))\n"
        "    def forward(self, batch):\n"
        "        predicted = self.layers(batch['observations']['state'])\n"
        "        return {'loss': nn.functional.mse_loss(predicted, batch['actions'])}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    train(config_for(states, tmp_path / "out", model="mine:Mine", model_arguments=("width=5",)))
    checkpoint = load_checkpoint(tmp_path / "out", module="mine:Mine")
    assert checkpoint.config.model_arguments == {"state_dim": 3, "action_dim": 4, "width": 5}
    assert checkpoint.needs.instruction is False


def test_the_number_of_threads_is_given_back(tmp_path: Path, states: Path) -> None:
    train(config_for(states, tmp_path / "out", steps=1, threads=2))
    assert torch.get_num_threads() == 1
    assert load_checkpoint(tmp_path / "out").training["threads"] == 2


def test_training_leaves_torch_random_numbers_alone(tmp_path: Path, states: Path) -> None:
    before = torch.random.get_rng_state()
    train(config_for(states, tmp_path / "out", steps=2))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"seed": 1}, "seed: was 0, is 1"),
        ({"learning_rate": 0.1, "steps": 13}, "steps: was 12, is 13; learning_rate: was 0.0003, is 0.1"),
    ],
)
def test_resuming_another_training_is_refused(tmp_path: Path, states: Path, changes: Any, text: str) -> None:
    config = config_for(states, tmp_path / "out", max_minutes=1e-9)
    train(config)
    with pytest.raises(SimScaleError, match=text):
        train(dataclasses.replace(config, resume=True, **changes))


def test_resuming_on_other_data_is_refused(tmp_path: Path, states: Path, make_needs: Any, make_dataset: Any) -> None:
    config = config_for(states, tmp_path / "out", max_minutes=1e-9, resume=True)
    train(config)
    other = make_dataset(tmp_path / "other", make_needs(), episodes=20, first_seed=77)
    with pytest.raises(SimScaleError, match="the dataset has changed"):
        train(dataclasses.replace(config, dataset=(other,)))


def test_an_output_that_is_taken_is_refused(tmp_path: Path, states: Path) -> None:
    train(config_for(states, tmp_path / "out", steps=1))
    with pytest.raises(SimScaleError, match=r"already holds training_state.safetensors; add --resume"):
        train(config_for(states, tmp_path / "out"))


def test_a_damaged_state_is_one_clear_line(tmp_path: Path, states: Path) -> None:
    train(config_for(states, tmp_path / "out", steps=1))
    (tmp_path / "out" / "training_state.safetensors").write_bytes(b"\x00" * 50)
    with pytest.raises(SimScaleError, match=r"training_state.safetensors is damaged"):
        train(config_for(states, tmp_path / "out", steps=1, resume=True))


def test_a_state_of_another_version_is_refused(tmp_path: Path, states: Path) -> None:
    train(config_for(states, tmp_path / "out", steps=1))
    path = tmp_path / "out" / "training_state.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"version":"2"', b'"version":"1"'))
    with pytest.raises(SimScaleError, match="of version 2, got 1; train anew"):
        train(config_for(states, tmp_path / "out", steps=1, resume=True))


def test_failed_demonstrations_are_refused_unless_asked_for(tmp_path: Path, make_needs: Any, make_dataset: Any) -> None:
    dataset = make_dataset(tmp_path / "data", make_needs(), success=False)
    with pytest.raises(SimScaleError, match="4 of 4 demonstrations did not succeed"):
        train(config_for(dataset, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    assert train(config_for(dataset, tmp_path / "out", allow_failures=True)).finished


def test_a_diverging_training_keeps_its_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, states: Path
) -> None:
    output = tmp_path / "out"
    original = Crashing.forward

    def forward(self: Crashing, batch: Any) -> dict[str, Tensor]:
        result = original(self, batch)
        self.seen = getattr(self, "seen", 0) + self.training
        return {"loss": result["loss"] * (float("nan") if self.seen > 6 else 1)}

    monkeypatch.setattr(Crashing, "forward", forward)
    with pytest.raises(DivergedError, match=r"loss nan .* at step 6"):
        train(config_for(states, output, model="test_crashing"))
    assert load_checkpoint(output).training["steps"] == 4


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"model": "bcc"}, "Unknown model 'bcc'. Did you mean 'bc'"),
        ({"model": "vla"}, "looks at images"),
        ({"model_arguments": ("hidden_dims=3",)}, "hidden_dims"),
        ({"preset": "small"}, "embed_dim"),
        ({"model": "test_crashing", "action_horizon": 2}, "predicts 1 actions at once"),
        ({"model": "test_crashing", "auxiliary_weight": 1.0}, "encode"),
        ({"device": "abacus"}, "--device abacus cannot be used"),
        ({"dataset": ("nowhere",)}, "nowhere is no dataset"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    tmp_path: Path, states: Path, changes: Any, text: str
) -> None:
    dataset = Path(changes["dataset"][0]) if "dataset" in changes else states
    changes = {key: value for key, value in changes.items() if key != "dataset"}
    with pytest.raises(SimScaleError, match=text):
        train(config_for(dataset, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


def test_a_training_does_not_write_into_its_dataset(tmp_path: Path) -> None:
    with pytest.raises(SimScaleError, match="is a dataset's folder; choose another"):
        config_for(tmp_path / "data", tmp_path / "x" / ".." / "data")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"steps": 0}, "--steps must be at least 1, got 0"),
        ({"ema_decay": 1.0}, "--ema-decay must lie in"),
        ({"validation_fraction": -0.1}, "--validation-fraction"),
        ({"n_action_steps": 5, "action_horizon": 4}, r"--n-action-steps must lie in \[1, 4\], got 5"),
        ({"model_arguments": ("patch_size",)}, "KEY=VALUE"),
        ({"learning_rate": float("nan")}, "--learning-rate"),
        ({"auxiliary_weight": 1.0, "use_environment_state": True}, "--auxiliary-weight"),
        ({"max_minutes": float("nan")}, "--max-minutes must be at least 0, got nan"),
    ],
)
def test_impossible_values_are_refused_at_once(tmp_path: Path, changes: Any, text: str) -> None:
    with pytest.raises(SimScaleError, match=text):
        config_for(tmp_path / "data", tmp_path, **changes)


def test_unwatched_a_training_prints_few_lines(
    tmp_path: Path, states: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["--model", "bc", "--dataset", str(states), "--steps", "40", "--checkpoint-interval", "20"]
    assert main([*command, "--output", str(tmp_path / "seldom")]) == 0
    lines = [line.split("/")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("step ")]
    assert lines == ["step 1", "step 20", "step 40"]  # the first, and those with a validation loss
    monkeypatch.setattr("simscaleai.training.log.SECONDS_BETWEEN_LINES", 0.0)
    assert main([*command, "--output", str(tmp_path / "often")]) == 0
    assert capsys.readouterr().out.count("\nstep ") == 40


def test_the_command_tells_what_it_did(tmp_path: Path, states: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--model", "bc", "--dataset", str(states), "--output", str(tmp_path / "out"), "--steps", "3"]
    assert main([*command, "--max-minutes", "1e-9"]) == 0
    assert "Repeat the command with --resume" in capsys.readouterr().out
    assert main(command) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main([*command, "--resume"]) == 0
    printed = capsys.readouterr().out
    assert "step 3/3" in printed
    assert "3 of 3 steps in 0.0 min, validation loss" in printed
    assert str(tmp_path / "out") in printed


def test_interrupting_the_command_says_how_to_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, states: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: Crashing, batch: Any) -> dict[str, Tensor]:
        raise KeyboardInterrupt

    monkeypatch.setattr(Crashing, "forward", interrupted)
    assert main(["--model", "test_crashing", "--dataset", str(states), "--output", str(tmp_path / "out")]) == 130
    assert "--resume" in capsys.readouterr().err


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nfrom simscaleai.train import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    for field in dataclasses.fields(TrainConfig):
        assert field.name.replace("_", "-") in output


def test_two_trainings_cannot_write_to_one_folder(tmp_path: Path, states: Path) -> None:
    with output_folder(tmp_path / "out"):
        with pytest.raises(SimScaleError, match=r"another process is writing to .*out; wait for it or choose"):
            train(config_for(states, tmp_path / "out"))
        assert not list((tmp_path / "out").iterdir())


def test_a_training_checks_the_files_of_its_dataset(tmp_path: Path, states: Path) -> None:
    path = states / "episodes/episode_000003.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(SimScaleError, match=r"episode_000003.* its SHA-256 is not that in episodes.jsonl"):
        train(config_for(states, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_dataset_that_is_named_twice_is_refused(tmp_path: Path, states: Path) -> None:
    twice = (states, states.parent / "x" / ".." / states.name)
    with pytest.raises(SimScaleError, match="expected each --dataset once"):
        dataclasses.replace(config_for(states, tmp_path / "out"), dataset=twice)


def test_a_text_that_is_too_long_is_found_before_training(tmp_path: Path, make_needs: Any, make_dataset: Any) -> None:
    dataset = make_dataset(tmp_path / "data", make_needs(cameras=CAMERAS, size=16), instruction="please " * 20)
    with pytest.raises(SimScaleError, match=r"a text has 140 characters.*--model-arguments max_text_len=140"):
        train(vla_config(dataset, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    assert train(vla_config(dataset, tmp_path / "out", language=False, steps=1)).finished
    longer = (*SMALL_VLA, "max_text_len=140")
    assert train(vla_config(dataset, tmp_path / "longer", model_arguments=longer, steps=1)).finished


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [([], []), ([5], [[5, 5]]), ([3, 1, 2, 2, 7, 10**9, 10**9 + 1], [[1, 3], [7, 7], [10**9, 10**9 + 1]])],
)
def test_intervals_are_exact(numbers: list[int], expected: list[list[int]]) -> None:
    assert intervals(numbers) == expected


def test_the_checkpoint_keeps_exact_intervals_of_its_seeds(
    tmp_path: Path, states: Path, make_needs: Any, make_dataset: Any
) -> None:
    from eval.episodes.plan import EpisodeSpec
    from eval.runs.seed_overlap import seed_overlap

    far = make_dataset(tmp_path / "far", make_needs(), episodes=2, seed=3 * 10**9)
    config = dataclasses.replace(config_for(states, tmp_path / "out", steps=1), dataset=(states, far))
    train(config)
    record = load_checkpoint(tmp_path / "out").training
    assert record["seeds"] == {"intervals": [[10**9, 10**9 + 19], [3 * 10**9, 3 * 10**9]], "count": 21}
    between, at_the_end = [EpisodeSpec(0, 2 * 10**9)], [EpisodeSpec(0, 10**9 + 19)]
    assert seed_overlap(record, between) is None
    overlap = seed_overlap(record, at_the_end)
    assert overlap is not None
    assert overlap.seeds == (10**9 + 19,)


def edit_progress(folder: Path, **changes: Any) -> None:
    path = folder / "training_state.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    progress = json.loads(metadata["progress"]) | changes
    save_file(load_file(path), path, metadata | {"progress": json.dumps(progress)})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"processes": 2}, r"processes: was 2, is 1 \(torchrun --nproc-per-node\)"),
        ({"initial_digest": "0"}, "the initial checkpoint has changed"),
        ({"dataset_digest": "0"}, "the dataset has changed"),
        ({"step": -1}, "expected a step of at least 0, got -1"),
        ({"step": "1"}, "expected step of type int"),
        ({"minutes": None}, "expected minutes of type float"),
    ],
)
def test_a_training_continues_only_what_it_began(tmp_path: Path, states: Path, changes: Any, said: str) -> None:
    config = config_for(states, tmp_path / "out", resume=True, max_minutes=1e-9)
    train(config)
    edit_progress(tmp_path / "out", **changes)
    with pytest.raises(SimScaleError, match=said):
        train(config)


def test_another_initial_checkpoint_cannot_take_over(tmp_path: Path, states: Path) -> None:
    train(config_for(states, tmp_path / "first", steps=1))
    config = config_for(states, tmp_path / "out", initial_checkpoint=tmp_path / "first", resume=True, max_minutes=1e-9)
    train(config)
    assert train(config).step == 2
    shutil.rmtree(tmp_path / "first")
    train(config_for(states, tmp_path / "first", steps=1, seed=7))
    with pytest.raises(SimScaleError, match="the initial checkpoint has changed"):
        train(config)


@pytest.mark.parametrize("text", ["step,loss\r\nx,1\r\n", "no,header\r\n1,2\r\n", "step\r\n\r\n\0\r\n"])
def test_damaged_metrics_are_one_clear_line(tmp_path: Path, states: Path, text: str) -> None:
    config = config_for(states, tmp_path / "out", resume=True, max_minutes=1e-9)
    train(config)
    (tmp_path / "out" / "metrics.csv").write_text(text)
    with pytest.raises(SimScaleError, match=r"metrics.csv is damaged .*; delete it and continue"):
        train(config)


@pytest.mark.slow
def test_a_training_that_two_processes_began_is_not_continued_by_one(tmp_path: Path, states: Path) -> None:
    words = ["simscaleai.train", "--model", "bc", "--dataset", str(states), "--output", str(tmp_path / "out")]
    words += ["--steps", "9", "--batch-size", "8", "--threads", "1"]
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    begun = subprocess.run([sys.executable, "-m", *launcher, *words, "--max-minutes", "1e-9"], capture_output=True)
    assert begun.returncode == 0
    assert load_checkpoint(tmp_path / "out").training["processes"] == 2
    done = subprocess.run([sys.executable, "-m", *words, "--resume"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "processes: was 2, is 1" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "found"),
    [({}, "1000 None"), ({"GOMP_SPINCOUNT": "7"}, "7 None"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None ACTIVE")],
)
def test_the_command_lets_waiting_threads_sleep_unless_told_otherwise(
    tmp_path: Path, given: dict[str, str], found: str
) -> None:
    code = (
        "import os, sys\nfrom simscaleai.train import main\nmain(sys.argv[1:])\n"
        "print(os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'))"
    )
    words = ["--model", "bc", "--dataset", "nowhere", "--output", str(tmp_path / "out")]
    own = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in own} | given
    done = subprocess.run([sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == found
