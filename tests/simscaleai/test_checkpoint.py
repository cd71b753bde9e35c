from __future__ import annotations

import copy
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from simscaleai.assets import asset_path
from simscaleai.checkpoint import (
    Checkpoint,
    CheckpointError,
    checkpoint_digest,
    load_checkpoint,
    read_checkpoint_config,
    save_checkpoint,
)
from simscaleai.contract import Feature, Layout, Needs
from simscaleai.models import ModelRegistry
from simscaleai.processing import Affine, Processor

ARGUMENTS = {"state_dim": 3, "action_dim": 4, "hidden_dim": 64, "n_layers": 1}
NEEDS = Needs(vectors={"state": Layout((Feature("position", 3, "m", "world"),))}, environments={"Toy-v0": "digest"})
PROCESSOR = Processor(vectors={"state": Affine((0.0,) * 3, (1.0,) * 3)})


def save(folder: Path, model: nn.Module | None = None, **changes: Any) -> nn.Module:
    model = model or ModelRegistry.create("bc", **ARGUMENTS)
    values = {
        "model_name": "bc",
        "model_arguments": ARGUMENTS,
        "needs": NEEDS,
        "processor": PROCESSOR,
        "training": {"steps": 7},
    }
    save_checkpoint(folder, model=model, **(values | changes))
    return model


def change_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def replace_weights(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Put other weights in, with the digest that a forger would also write."""
    path = folder / "model.safetensors"
    save_file(tensors, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    change_config(folder, lambda config: config["weights"].update(sha256=digest))


def assert_refused(folder: Path, text: str, **arguments: Any) -> None:
    with pytest.raises(CheckpointError, match=text) as caught:
        load_checkpoint(folder, **arguments)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_loading_gives_back_what_was_saved(tmp_path: Path) -> None:
    model = save(tmp_path / "new" / "folder", n_action_steps=2)
    checkpoint = load_checkpoint(tmp_path / "new" / "folder")
    assert isinstance(checkpoint, Checkpoint)
    assert not checkpoint.model.training
    assert (checkpoint.model_name, checkpoint.config.model_arguments) == ("bc", ARGUMENTS)
    assert (checkpoint.needs, checkpoint.processor) == (NEEDS, PROCESSOR)
    assert (checkpoint.n_action_steps, checkpoint.training) == (2, {"steps": 7})
    observations = {"state": torch.randn(5, 3)}
    assert torch.equal(checkpoint.model.predict(observations), model.predict(observations))


def test_the_folder_holds_two_files(tmp_path: Path) -> None:
    save(tmp_path)
    save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_the_digest_depends_on_weights_and_configuration(tmp_path: Path) -> None:
    model = save(tmp_path)
    first = load_checkpoint(tmp_path).digest
    save(tmp_path, model)
    assert load_checkpoint(tmp_path).digest == first
    save(tmp_path, model, training={"steps": 8})
    second = load_checkpoint(tmp_path).digest
    save(tmp_path)
    assert len({first, second, load_checkpoint(tmp_path).digest}) == 3


def test_half_precision_halves_the_file_and_loads_as_float32(tmp_path: Path) -> None:
    model = save(tmp_path / "full")
    save(tmp_path / "half", model, half=True)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    loaded = load_checkpoint(tmp_path / "half").model.state_dict()
    for name, tensor in model.state_dict().items():
        assert loaded[name].dtype == torch.float32
        assert torch.equal(loaded[name], tensor.half().float())


def test_weights_beyond_half_precision_are_refused(tmp_path: Path) -> None:
    model = ModelRegistry.create("bc", **ARGUMENTS)
    nn.init.constant_(next(model.parameters()), 1e6)
    with pytest.raises(CheckpointError, match="not finite; leave out --half"):
        save(tmp_path, model, half=True)
    assert not any(tmp_path.iterdir())


def test_saving_and_loading_leave_random_numbers_alone(tmp_path: Path) -> None:
    model = ModelRegistry.create("bc", **ARGUMENTS)
    before = torch.random.get_rng_state()
    save(tmp_path, model)
    load_checkpoint(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("dies_at", [0, 1])
def test_a_death_while_saving_leaves_no_silent_mixture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    first = save(tmp_path)
    calls = iter(range(9))
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if next(calls) == dies_at:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr("simscaleai.files.os.replace", replace)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path)
    if dies_at == 1:
        assert_refused(tmp_path, "is not the file that config.json was written with")
    else:
        assert torch.equal(next(load_checkpoint(tmp_path).model.parameters()), next(first.parameters()))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    save(tmp_path)
    (tmp_path / name).unlink()
    assert_refused(tmp_path, f"cannot read {name}")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda config: config.pop("needs"), "expected needs of type Needs, got none"),
        (lambda config: config.update(n_action_steps="2"), 'expected n_action_steps of type int, got "2"'),
        (lambda config: config.update(n_action_steps=0), "at least 1"),
        (lambda config: config.update(inference_version=99), "inference_version 99.*update"),
        (lambda config: config["model"].update(name="bcc"), "unknown model 'bcc'; registered are bc, vla"),
        (lambda config: config["model"].update(name=["bc"]), "expected model.name of type str"),
        (lambda config: config["model"]["arguments"].update(hidden_dims=3), "cannot be built.*hidden_dims"),
        (lambda config: config["model"]["arguments"].update(hidden_dim=17), "has shape .*; use the code of the model"),
        (lambda config: config["model"]["arguments"].update(n_layers=2), "missing .*; use the code of the model"),
        (lambda config: config["processor"].pop("vectors"), "expected processor.vectors"),
        (lambda config: config["processor"]["vectors"]["state"]["scale"].pop(), "as many offsets as scales"),
        (lambda config: config["needs"].update(vectors={}), "different observations"),
        (lambda config: config.update(config_version=3), "config_version 3.*update"),
        (lambda config: config.update(inference_version=-1), "inference_version must be at least 1"),
        (lambda config: config["needs"].update(future=1), "unknown entry needs.future"),
    ],
)
def test_a_wrong_configuration_is_one_clear_line(tmp_path: Path, change: Any, text: str) -> None:
    save(tmp_path)
    change_config(tmp_path, change)
    assert_refused(tmp_path, text)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_configurations_that_are_no_object_are_refused(tmp_path: Path, content: bytes) -> None:
    save(tmp_path)
    (tmp_path / "config.json").write_bytes(content)
    assert_refused(tmp_path, "config.json")


def test_damaged_or_foreign_weights_are_refused(tmp_path: Path) -> None:
    save(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    data = path.read_bytes()
    path.write_bytes(data[:-4])
    assert_refused(tmp_path, r"is not the file .*; copy the checkpoint again, or train the model again")
    name = next(iter(tensors))
    replace_weights(tmp_path, tensors | {name: torch.full_like(tensors[name], float("nan"))})
    assert_refused(tmp_path, f"weight {name} holds a value that is not finite; train the model again")
    replace_weights(tmp_path, {key: value for key, value in tensors.items() if key != name})
    assert_refused(tmp_path, "missing")


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that leaves a mark when it is imported."""
    (tmp_path / "trapped.py").write_text(
        "from pathlib import Path\nfrom torch import nn\n"
        "Path(__file__).with_name('mark').touch()\n"
        "class Model(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.layer = nn.Linear(1, 1)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "trapped", raising=False)
    return tmp_path / "mark"


@pytest.mark.parametrize("field", ["name", "module"])
@pytest.mark.parametrize("allowed", [None, "other.module:Model"])
def test_a_file_cannot_make_us_import(tmp_path: Path, trap: Path, field: str, allowed: str | None) -> None:
    save(tmp_path / "checkpoint")
    change_config(tmp_path / "checkpoint", lambda config: config["model"].update({field: "trapped:Model"}))
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "checkpoint", module=allowed)
    assert not trap.exists()


def test_a_module_of_ones_own_loads_when_asked_for(tmp_path: Path, trap: Path) -> None:
    import trapped

    model = trapped.Model()
    save(tmp_path / "checkpoint", model, model_name="trapped:Model", model_arguments={}, module="trapped:Model")
    assert_refused(tmp_path / "checkpoint", "made by model 'trapped:Model'; pass exactly that name")
    loaded = load_checkpoint(tmp_path / "checkpoint", module="trapped:Model").model
    assert torch.equal(loaded.layer.weight, model.layer.weight)


def test_naming_a_module_for_a_registered_model_is_refused(tmp_path: Path) -> None:
    save(tmp_path)
    assert_refused(tmp_path, "registered model 'bc', not by 'trapped:Model'", module="trapped:Model")


VERSION_1 = {
    "inference_version": 1,
    "model": {
        "name": "bc",
        "arguments": {"state_dim": 5, "use_image": True, "image_channels": 6, "image_size": 40},
        "module": None,
    },
    "n_action_steps": 1,
    "contract": {
        "environments": {"SimScale/Toy-v0": "scene-digest"},
        "state": [{"name": "position", "size": 3, "unit": "m", "frame": "world"}],
        "environment_state": [{"name": "goal", "size": 2, "unit": "m", "frame": "world"}],
        "cameras": ["wrist", "front"],
        "image_size": [40, 40],
        "render_profile": "profile-digest",
        "language": False,
        "action": "displacement",
        "control_hz": 20,
        "max_episode_steps": 50,
    },
    "processor": {
        "vectors": {
            "state": {"offset": [0.5, 0.25, 0.0], "scale": [1.0, 2.0, 3.0]},
            "environment_state": {"offset": [0.0, 0.0], "scale": [1.0, 1.0]},
        },
        "image_shape": [40, 40, 6],
        "action": None,
    },
    "training": {"steps": 7},
}


def write_version_1(folder: Path, config: dict[str, Any]) -> None:
    model = ModelRegistry.create("bc", **config["model"]["arguments"])
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors")
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    config = config | {"weights": {"precision": "float32", "sha256": digest}}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def test_a_checkpoint_of_version_1_loads(tmp_path: Path) -> None:
    write_version_1(tmp_path / "old", VERSION_1)
    checkpoint = load_checkpoint(tmp_path / "old")
    assert list(checkpoint.needs.vectors) == ["state", "environment_state"]
    assert checkpoint.needs.privileged == ("environment_state",)
    assert checkpoint.needs.cameras == {"wrist": (40, 40), "front": (40, 40)}
    assert checkpoint.processor == Processor(
        vectors={
            "state": Affine((0.5, 0.25, 0.0), (1.0, 2.0, 3.0)),
            "environment_state": Affine((0.0, 0.0), (1.0, 1.0)),
        },
        cameras=("wrist", "front"),
        image_size=(40, 40),
    )
    assert read_checkpoint_config(tmp_path / "old") == checkpoint.config


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda config: config.pop("contract"), "no checkpoint of ours"),
        (lambda config: config["contract"].update(cameras=["front"]), "images of 1 cameras"),
        (lambda config: config["processor"].pop("image_shape"), "image_shape"),
        (lambda config: config["processor"].update(image_shape=40), "config.json"),
    ],
)
def test_a_damaged_checkpoint_of_version_1_is_one_clear_line(tmp_path: Path, change: Any, text: str) -> None:
    config = copy.deepcopy(VERSION_1)
    change(config)
    write_version_1(tmp_path / "old", config)
    assert_refused(tmp_path / "old", text)


@pytest.mark.parametrize("name", ["bc-reach", "bc-pick-place-image", "vla-pick-place"])
def test_the_digest_of_a_shipped_checkpoint_is_that_of_its_files(name: str) -> None:
    folder = asset_path("checkpoints") / name
    contents = [(folder / file).read_bytes() for file in ("config.json", "model.safetensors")]
    checkpoint = load_checkpoint(folder)
    assert checkpoint.digest == checkpoint_digest(*contents) == hashlib.sha256(b"".join(contents)).hexdigest()
    assert checkpoint.processor.cameras == tuple(checkpoint.needs.cameras)


def test_reading_a_configuration_imports_no_torch() -> None:
    code = (
        "import sys\nfrom simscaleai.assets import asset_path\n"
        "from simscaleai.checkpoint import checkpoint_digest, read_checkpoint_config\n"
        "assert read_checkpoint_config(asset_path('checkpoints') / 'vla-pick-place').needs.cameras\n"
        "assert checkpoint_digest(b'a', b'b')\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
