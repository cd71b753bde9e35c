"""What users get wrong: one line that says what was expected, what came and what to do; nothing there is changed."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import envs.__main__
import policies.__main__
import simscaleai.data.__main__
import simscaleai.train
from eval import __main__, collect, compare, record, rollout, validate
from eval.report import __main__ as report

ROOT = Path(__file__).resolve().parents[1]
DATA, RUN, MODEL = Path("data"), Path("run"), Path("bc")
EPISODE = DATA / "episodes/episode_000000.safetensors"
CANARY = "canary_module"
UNSEEN = """
from dataclasses import replace
from point_world import REGISTRATION as POINT, SPEC as OF_POINT

SPEC = replace(OF_POINT, env_id="Test/Unseen-v0", film_cameras=())
REGISTRATION = replace(POINT, name="unseen", env_id=SPEC.env_id, offer=lambda: SPEC)
"""
"""Module of an environment that cannot be filmed."""
MAINS = {
    "rollout": rollout.main,
    "collect": collect.main,
    "record": record.main,
    "compare": compare.main,
    "validate": validate.main,
    "report": report.main,
    "train": simscaleai.train.main,
    "data": simscaleai.data.__main__.main,
    "envs": envs.__main__.main,
    "policies": policies.__main__.main,
    "simscale": __main__.main,
}


@pytest.fixture(scope="module")
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
    monkeypatch.syspath_prepend(str(ROOT / "tests/eval"))  # the module `point_world`
    folder = tmp_path / "place"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    return folder


def digest(folder):
    """Returns every path below `folder` with what is in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


@dataclass(frozen=True)
class Mistake:
    """A command that cannot do what it is told."""

    command: str
    """Name of a main, and its arguments."""
    says: str
    """Part of the message."""
    damage: Callable[[], object] = lambda: None
    """Done to a copy of everything beforehand."""
    gl: bool = True
    """Whether a GL library is there."""
    listing: bool = False
    """Whether the line is followed by an indented list of differences."""


def edit_json(path, *keys, value):
    data = json.loads(Path(path).read_text())
    inner = data
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    Path(path).write_text(json.dumps(data))


config = partial(edit_json, MODEL / "config.json")
needs = partial(config, "needs")
description = partial(edit_json, DATA / "dataset.json")
run_record = partial(edit_json, RUN / "run.json")


def look(camera):
    """Lets the checkpoint need images of `camera`."""
    needs("cameras", value={camera: [40, 40]})
    config("processor", "cameras", value=[camera])
    config("processor", "image_size", value=[40, 40])


def old_contract(contract):
    """Rewrites the configuration of the checkpoint as version 1 had it."""
    path = MODEL / "config.json"
    data = json.loads(path.read_text())
    del data["config_version"], data["needs"], data["processor"]["cameras"], data["processor"]["image_size"]
    data["processor"]["image_shape"] = None
    path.write_text(json.dumps(data | {"contract": contract}))


def edit_line(path, **changes):
    """Changes the first line of a list of JSON objects."""
    first, *others = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(json.loads(first) | changes), *others, ""]))


def cut(path, size=100):
    path.write_bytes(path.read_bytes()[:size])


def flip(path):
    """Changes the last byte."""
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def edit_weights(change):
    """Changes the first weight, and the digest that the configuration holds of them."""
    path = MODEL / "model.safetensors"
    weights = load_file(path)
    name = sorted(name for name, array in weights.items() if array.dtype.kind == "f" and array.size > 1)[0]
    weights[name] = change(weights[name])
    save_file(weights, path)
    config("weights", "sha256", value=hashlib.sha256(path.read_bytes()).hexdigest())


def edit_episode(**changes):
    """Changes arrays of the first episode, and the digest that the index holds of them."""
    arrays = load_file(EPISODE)
    save_file({name: changes.get(name, lambda array: array)(array) for name, array in arrays.items()}, EPISODE)
    edit_line(DATA / "episodes.jsonl", sha256=hashlib.sha256(EPISODE.read_bytes()).hexdigest())


def no_episodes():
    (DATA / "episodes.jsonl").write_text("")


LEARNED = "rollout --model bc --checkpoint bc --env reach --episodes 1 --output new"
TRAIN = "train --model bc --dataset data --output new --steps 1"
COLLECT = "collect --env reach --episodes 1 --output new"
HUGE = 10**400
LONG = "n" * 300

NAMES = {
    "command": Mistake("simscale rollot", "Unknown command 'rollot'. Did you mean 'rollout'?"),
    "policy": Mistake("rollout --model scripte --env reach", "Unknown policy 'scripte'. Did you mean 'scripted'?"),
    "environment": Mistake("rollout --model zero --env reech", "Unknown environment 'reech'. Did you mean 'reach'?"),
    "environment id": Mistake("collect --env SimScale/Reach-v1 --output new", "Did you mean 'SimScale/Reach-v0'?"),
    "camera of a dataset": Mistake("collect --output new --cameras fronnt", "Did you mean 'front'?"),
    "camera of a film": Mistake("record --model zero --output new --cameras wirst", "Did you mean 'wrist'?"),
    "expert": Mistake(f"{COLLECT} --expert scriptd", "Did you mean 'scripted'?"),
    "model": Mistake("train --model bcc --dataset data --output new", "Unknown model 'bcc'. Did you mean 'bc'?"),
    "preset": Mistake("train --model vla --preset smal --dataset data --output new", "Did you mean 'small'?"),
    "model argument": Mistake(f"{TRAIN} --model-arguments hiden_dim=8", "hiden_dim"),
    "module": Mistake("rollout --model no_module:Policy", "No module named 'no_module'"),
    "attribute": Mistake("rollout --model math:policy --env reach", "module 'math' has no attribute 'policy'"),
    "attribute that is no policy": Mistake(
        "rollout --model math:pi --env reach", "'math:pi' does not make a policy: expected"
    ),
    "function that makes no policy": Mistake(
        "rollout --model builtins:repr --env reach", "does not make a policy: it has"
    ),
    "policy option": Mistake(
        "rollout --model bc-reach --env reach --policy-option n_actoin_steps=1", "Did you mean 'n_action_steps'?"
    ),
    "policy option of a function": Mistake(
        "rollout --model zero --env reach --policy-option horizon=1", "Unknown policy option 'horizon'"
    ),
    "environment of a broken package": Mistake(
        "rollout --model zero --env broken --output new",
        "cannot load 'broken' from no_module:REGISTRATION (ModuleNotFoundError: No module named 'no_module'); ",
    ),
    "policy of a broken package": Mistake(
        "rollout --model broken-policy --env reach --output new",
        "cannot load 'broken-policy' from no_module:Policy (ModuleNotFoundError",
    ),
    "intervention": Mistake("rollout --model zero --env reach --intervene vision=blakc", "Did you mean 'black'?"),
    "checkpoint to validate": Mistake("validate zero randm --env reach", "Did you mean 'random'?"),
    "format": Mistake("data export data --format lerobt --output new", "lerobt"),
    "a name and a checkpoint": Mistake("rollout --model bc --env reach", "say --model ./bc for the folder"),
    "subcommand": Mistake("data inof data", "inof"),
    "with control characters": Mistake("rollout --model \x1b[2Jzero --env reach", r"Unknown policy '\x1b[2Jzero'"),
}

FLAGS = {
    "rollout": Mistake("rollout --modle zero", "Unrecognized options: --modle, zero. Did you mean --model?"),
    "collect": Mistake("collect --output new --resum", "Did you mean --resume? See python -m eval.collect --help."),
    "record": Mistake("record --model zero --output new --gird 2x2", "--gird"),
    "report": Mistake("report run --fromat md", "Did you mean --format?"),
    "compare": Mistake("compare run other --marjin 5pp", "Did you mean --margin?"),
    "train": Mistake(f"{TRAIN} --lerning-rate 1", "Did you mean --learning-rate?"),
    "data": Mistake("data info data --verbose", "--verbose"),
    "envs": Mistake("envs --contact-shet new.png", "Did you mean --contact-sheet?"),
    "envs without a value": Mistake("envs --contact-sheet", "Missing value for argument '--contact-sheet'"),
    "policies": Mistake("policies --al", "Unrecognized options: --al"),
    "validate": Mistake("validate zero random --epsiodes 5", "Did you mean --episodes?"),
    "no flag any more": Mistake("rollout --validate zero random", "Unrecognized options: --validate"),
    "nothing required": Mistake("record --model zero", "expected --output PATH; got none."),
    "not a number": Mistake("rollout --model zero --episodes many", "expected --episodes INT, got ['many']"),
    "no value": Mistake("rollout --model", "Missing value for argument '--model'"),
    "one run": Mistake("compare run", "expected B; got none."),
    "no percentage points": Mistake("compare run other --margin 5", "such as 5pp or 5%"),
}

VALUES = {
    "zero episodes": Mistake("rollout --model zero --episodes 0", "at least 1 episode, got 0"),
    "a thousand million episodes": Mistake("rollout --model zero --episodes 1000000000", "at most 1000000 episodes"),
    "a thousand million demonstrations": Mistake(
        "collect --env reach --episodes 1000000000 --output new", "at most 1000000 episodes"
    ),
    "a thousand million episodes to choose by": Mistake(
        "validate zero random --env reach --episodes 1000000000", "at most 1000000 episodes"
    ),
    "a huge seed": Mistake(f"rollout --model zero --env reach --seeds {HUGE}", "seeds of at most 9223372036854775807"),
    "a huge base seed": Mistake(f"{COLLECT} --seed {HUGE}", "seeds of at most 9223372036854775807"),
    "a huge seed to film": Mistake(f"record --model zero --output new --seeds {HUGE}", "seeds of at most"),
    "a huge number of actions": Mistake(
        f"rollout --model zero --env reach --policy-option n_action_steps={HUGE}", "n_action_steps as int, got '1000"
    ),
    "a huge decay": Mistake(
        f"rollout --model zero --env reach --policy-option ensemble_decay={HUGE}", "ensemble_decay as float, got '1000"
    ),
    "a film of another kind": Mistake(
        "record --model zero --env reach --seeds 1 --output film.avi", "a file that ends in .mp4 or .gif, got film.avi"
    ),
    "zero demonstrations": Mistake("collect --env reach --episodes 0 --output new", "at least 1 episode, got 0"),
    "a seed twice": Mistake("rollout --model zero --seeds 1 1", "each seed once"),
    "a negative seed": Mistake("rollout --model zero --env reach --seeds -1", "-1"),
    "no slots": Mistake("rollout --model zero --num-envs 0", "expected --num-envs of at least 1, got 0"),
    "no workers": Mistake(f"{COLLECT} --workers 0", "workers and num_envs of at least 1, got 0 and 16"),
    "no slots to collect in": Mistake(f"{COLLECT} --num-envs 0", "of at least 1, got 1 and 0"),
    "a test seed": Mistake(f"{COLLECT} --seed 0", "0 to 999999 are reserved for evaluation; leave out --seed"),
    "a validation seed": Mistake(
        f"{COLLECT} --seed 2999999999", "2000000000 to 2999999999 are reserved for evaluation; leave out --seed"
    ),
    "no time": Mistake("rollout --model zero --timeout 0", "expected a --timeout above 0 s, got 0"),
    "no time to collect": Mistake(f"{COLLECT} --timeout nan", "expected a --timeout above 0 s, got nan"),
    "a policy option without a value": Mistake(
        "rollout --model zero --policy-option n_action_steps",
        "expected --policy-option NAME=VALUE, got 'n_action_steps'; for example n_action_steps=1",
    ),
    "a policy option twice": Mistake(
        "rollout --model zero --policy-option n_action_steps=1 n_action_steps=1", "expected one value"
    ),
    "a policy option that is no number": Mistake(
        "rollout --model zero --policy-option n_action_steps=many", "n_action_steps as int, got 'many'"
    ),
    "no action of a chunk": Mistake("rollout --model zero --policy-option n_action_steps=0", "at least 1, got 0"),
    "more actions than a chunk has": Mistake(
        "rollout --model bc-reach --env reach --policy-option n_action_steps=2",
        "expected n_action_steps of 1 to 1, the length of the model's chunks; got 2",
    ),
    "one checkpoint to choose from": Mistake(
        "validate bc-reach --env reach", "expected at least 2 different checkpoints, got bc-reach"
    ),
    "a checkpoint twice": Mistake("validate zero zero --env reach", "at least 2 different checkpoints, got zero zero"),
    "a checkpoint folder twice": Mistake(
        "validate bc ./bc --env reach", "at least 2 different checkpoints, got bc ./bc"
    ),
    "no workers to choose with": Mistake("validate zero random --env reach --workers 0", "--workers of at least 1"),
    "a film of what has no film camera": Mistake(
        "record --model zero --env unseen --output new",
        "Test/Unseen-v0 has no camera for videos; choose an environment",
    ),
    "a video of what has no film camera": Mistake(
        "rollout --model zero --env unseen --episodes 1 --video 1 --output new",
        "Test/Unseen-v0 has no camera for videos; choose an environment",
    ),
    "negative noise": Mistake(f"{COLLECT} --action-noise -0.1", "action"),
    "no noise at all": Mistake(f"{COLLECT} --action-noise nan", "action"),
    "an image of nothing": Mistake(f"{COLLECT} --image-size 0", "image"),
    "a huge image": Mistake(f"{COLLECT} --image-size 1000000", "image"),
    "negative videos": Mistake("rollout --model zero --env reach --episodes 1 --video -1", "video"),
    "zero steps": Mistake("train --model bc --dataset data --output new --steps 0", "--steps must be at least 1"),
    "no dataset": Mistake("train --model bc --output new --dataset", "dataset"),
    "a device": Mistake(f"{TRAIN} --device abacus", "--device abacus cannot be used"),
    "a wall": Mistake("record --model zero --output new --grid 4", "such as 4x4"),
    "a picture that is no PNG": Mistake("envs --contact-sheet new.jpg", "a name that ends in .png"),
    "a new name without the old one": Mistake(
        "data import data --output new --rename state", "--rename takes SOURCE=NEW, for example"
    ),
}

CONTRADICTIONS = {
    "two ways to execute chunks": Mistake(
        "rollout --model vla --policy-option n_action_steps=1 ensemble_decay=0.1",
        "expected n_action_steps or ensemble_decay, got both",
    ),
    "choose again where": Mistake("validate zero random --env reach --resume", "expected --output with --resume"),
    "two plans": Mistake("rollout --model zero --detect 5pp --episodes 3", "--detect or --episodes, got both"),
    "resume what": Mistake("rollout --model zero --resume", "expected --output with --resume"),
    "decided against whom": Mistake("rollout --model zero --until-decided", "expected --vs with --until-decided"),
    "collect where": Mistake("collect --env reach", "expected --output"),
    "collect and verify": Mistake("collect --output new --verify data", "got both"),
    "weights of none": Mistake("rollout --model zero --checkpoint bc --env reach", "policy 'zero' has no weights"),
    "chunks": Mistake(f"{TRAIN} --n-action-steps 2", r"--n-action-steps must lie in [1, 1], got 2"),
    "truth twice": Mistake(f"{TRAIN} --use-environment-state --auxiliary-weight 1", "--auxiliary-weight"),
    "a run with itself": Mistake("report run run", "more than once"),
    "a run compared with itself": Mistake("compare run ./run/../run", "expected two different runs, got run twice"),
    "one film of many": Mistake("record --model zero --output new.mp4", "expected one seed or --grid"),
}

PLACES = {
    "rollout over a run": Mistake("rollout --model zero --output run", "already holds a run; add --resume"),
    "rollout into a full folder": Mistake("rollout --model zero --output full", "full is not empty"),
    "rollout into a file": Mistake("rollout --model zero --output file", "file is a file"),
    "rollout below a file": Mistake("rollout --model zero --output file/new", "file"),
    "collect over data": Mistake("collect --env reach --episodes 1 --output data", "data is not empty"),
    "collect into a file": Mistake("collect --env reach --episodes 1 --output file", "file is a file"),
    "record into a full folder": Mistake("record --model zero --env reach --output full", "full is not empty"),
    "train over a checkpoint": Mistake("train --model bc --dataset data --output bc", "bc"),
    "train into a file": Mistake("train --model bc --dataset data --output file", "file"),
    "report over a run": Mistake("report run --output run/run.json --format json", "would replace a file of a run"),
    "export over data": Mistake("data export data --output data", "data is not empty"),
    "draw below a file": Mistake("envs --contact-sheet file/new.png", "file"),
    "rollout where none may write": Mistake("rollout --model zero --output /proc/new", "/proc/new"),
    "choose where none may write": Mistake("validate zero random --env reach --output /proc/new", "/proc/new"),
    "choose in a full folder": Mistake("validate zero random --env reach --output full", "full is not empty"),
    "choose again in a run": Mistake("validate zero random --env reach --output run --resume", "run is not empty"),
    "collect where none may write": Mistake("collect --env reach --episodes 1 --output /proc/new", "/proc/new"),
    "record where none may write": Mistake("record --model zero --env reach --output /proc/new", "/proc/new"),
    "film where none may write": Mistake(
        "record --model zero --env reach --seeds 1 --output /proc/new/film.mp4", "/proc/new"
    ),
    "train where none may write": Mistake("train --model bc --dataset data --output /proc/new", "/proc/new"),
    "report where none may write": Mistake("report run --output /proc/new.html", "/proc/new.html"),
    "export where none may write": Mistake("data export data --output /proc/new", "/proc"),
    "draw where none may write": Mistake("envs --contact-sheet /proc/new.png", "/proc"),
    "control characters in a path": Mistake("rollout --model zero --output file/\x1b[2J", r"cannot use file/\x1b[2J ("),
    "rollout into a name too long": Mistake(f"rollout --model zero --output {LONG}", "File name too long"),
    "collect into a name too long": Mistake(f"collect --env reach --episodes 1 --output {LONG}", "File name too long"),
    "train into a name too long": Mistake(f"train --model bc --dataset data --output {LONG}", "File name too long"),
    "a checkpoint with a name too long": Mistake(f"rollout --model {LONG} --env reach", "File name too long"),
    "no run to compare with": Mistake("compare run nowhere", "nowhere"),
    "no run to report": Mistake("report nowhere", "nowhere"),
    "no dataset to look into": Mistake("data info nowhere", "nowhere is no dataset"),
    "no dataset to export": Mistake("data export nowhere --output new", "nowhere is no dataset"),
    "no dataset to train on": Mistake("train --model bc --dataset nowhere --output new", "nowhere is no dataset"),
    "no dataset to verify": Mistake("collect --verify nowhere", "nowhere is no dataset"),
    "no dataset to import": Mistake("data import data --output new", "data is no LeRobotDataset"),
    "no checkpoint": Mistake("rollout --model bc --checkpoint nowhere --env reach", "nowhere is no checkpoint"),
    "no checkpoint to start from": Mistake(f"{TRAIN} --initial-checkpoint nowhere", "nowhere is no checkpoint"),
    "a dataset for a checkpoint": Mistake("rollout --model data --env reach", "data is no checkpoint"),
    "a checkpoint for a dataset": Mistake("data info bc", "bc is no dataset"),
}

CHECKPOINTS = {
    "another model": Mistake("rollout --model vla --checkpoint bc --env reach", "say --model bc"),
    "another environment": Mistake(
        "rollout --model bc --checkpoint bc --env pick-place --output new", "does not fit the environment", listing=True
    ),
    "another scene": Mistake(
        LEARNED,
        "does not fit the environment",
        lambda: needs("environments", value={"SimScale/Reach-v0": "0"}),
        listing=True,
    ),
    "cut weights": Mistake(LEARNED, "is not the file that config.json", lambda: cut(MODEL / "model.safetensors")),
    "no weights": Mistake(LEARNED, "cannot read model.safetensors", lambda: (MODEL / "model.safetensors").unlink()),
    "cut configuration": Mistake(LEARNED, "config.json is not JSON", lambda: cut(MODEL / "config.json")),
    "binary configuration": Mistake(
        LEARNED, "config.json is not JSON", lambda: (MODEL / "config.json").write_bytes(b"\xff\xfe")
    ),
    "deep configuration": Mistake(
        LEARNED, "config.json is not JSON", lambda: (MODEL / "config.json").write_text("[" * 100_000)
    ),
    "a list": Mistake(LEARNED, "must hold an object, got list", lambda: (MODEL / "config.json").write_text("[]")),
    "weights not finite": Mistake(LEARNED, "not finite", lambda: edit_weights(lambda weight: weight * np.nan)),
    "weights of another shape": Mistake(LEARNED, "has shape", lambda: edit_weights(lambda weight: weight[:-1])),
    "a newer version": Mistake(LEARNED, "update simscaleai", lambda: config("inference_version", value=99)),
    "an old version": Mistake(LEARNED, "inference_version", lambda: config("inference_version", value=-1)),
    "a huge version": Mistake(LEARNED, "update simscaleai", lambda: config("inference_version", value=HUGE)),
    "a module": Mistake(LEARNED, "pass exactly that name", lambda: config("model", "module", value=f"{CANARY}:Model")),
    "a module for a name": Mistake(LEARNED, "unknown model", lambda: config("model", "name", value=f"{CANARY}:Model")),
    "a module that is no name": Mistake(LEARNED, "bc", lambda: config("model", "module", value=[1])),
    "unknown arguments": Mistake(LEARNED, "cannot be built", lambda: config("model", "arguments", "x", value=1)),
    "huge arguments": Mistake(LEARNED, "bc", lambda: config("model", "arguments", "hidden_dim", value=10**12)),
    "arguments of another type": Mistake(LEARNED, "bc", lambda: config("model", "arguments", "hidden_dim", value="x")),
    "a negative size": Mistake(LEARNED, "bc", lambda: config("model", "arguments", "hidden_dim", value=-1)),
    "no arguments": Mistake(
        LEARNED, "expected model.arguments of type dict", lambda: config("model", "arguments", value=None)
    ),
    "chunks too long": Mistake(LEARNED, "n_action_steps", lambda: config("n_action_steps", value=HUGE)),
    "needs of nothing": Mistake(LEARNED, "needs and processor name different", lambda: needs(value={})),
    "no needs": Mistake(LEARNED, "expected needs with named entries, got null", lambda: needs(value=None)),
    "a layout of another type": Mistake(LEARNED, "needs.vectors.state", lambda: needs("vectors", "state", value=5)),
    "environments of another type": Mistake(LEARNED, "needs.environments", lambda: needs("environments", value=[1])),
    "sizes of another type": Mistake(
        LEARNED,
        "expected needs.vectors.state.features.size of type int",
        lambda: needs("vectors", "state", "features", 0, "size", value="1"),
    ),
    "a huge size": Mistake(
        LEARNED, "config.json: expected a size", lambda: needs("vectors", "state", "features", 0, "size", value=10**9)
    ),
    "no history": Mistake(LEARNED, "expected a history of at least 1", lambda: needs("history", value=0)),
    "a huge image": Mistake(
        LEARNED, "a height and width of 1 to 4096 px", lambda: needs("cameras", value={"front": [10**9, 10**9]})
    ),
    "cameras that are a number": Mistake(LEARNED, "needs.cameras of type", lambda: needs("cameras", value=3)),
    "a camera that is none": Mistake(
        LEARNED,
        r"camera '\x1b[2J': policy needs it, environment has front, wrist",
        lambda: look("\x1b[2J"),
        listing=True,
    ),
    "an old contract of nothing": Mistake(LEARNED, "stored needs are damaged", lambda: old_contract({})),
    "an old contract of other types": Mistake(
        LEARNED,
        "expected vectors.state.features",
        lambda: old_contract({"state": 5, "environments": {}, "control_hz": 20}),
    ),
    "a processor of nothing": Mistake(LEARNED, "expected processor.vectors", lambda: config("processor", value={})),
    "a processor of other sizes": Mistake(
        LEARNED,
        "needs and processor name different observations, or give them different sizes",
        lambda: config("processor", "vectors", "state", value={"offset": [0.0], "scale": [1.0]}),
    ),
    "a processor that divides by zero": Mistake(
        LEARNED, "scales above 0", lambda: config("processor", "vectors", "state", "scale", value=[0.0] * 20)
    ),
    "a training of another type": Mistake(
        LEARNED, "expected training of type dict", lambda: config("training", value=[])
    ),
}

VERIFY = "collect --verify data"
DATASETS = {
    "no description": Mistake("data info data", "has no dataset.json", lambda: (DATA / "dataset.json").unlink()),
    "cut description": Mistake("data info data", "dataset.json is damaged", lambda: cut(DATA / "dataset.json")),
    "a newer version": Mistake(
        TRAIN, "reads simscaleai-dataset up to", lambda: description("format_version", value=99)
    ),
    "deep description": Mistake(TRAIN, "damaged", lambda: (DATA / "dataset.json").write_text("[" * 100_000)),
    "needs of nothing": Mistake(TRAIN, "dataset.json is damaged", lambda: description("needs", value={})),
    "a state of another type": Mistake(
        TRAIN, "expected needs.vectors.state", lambda: description("needs", "vectors", "state", value=5)
    ),
    "an array type of another type": Mistake(
        TRAIN, "array_types.action.shape", lambda: description("array_types", "action", "shape", value="x")
    ),
    "a dtype that is none": Mistake(
        TRAIN, "got evil", lambda: description("array_types", "action", "dtype", value="evil")
    ),
    "statistics of another type": Mistake(TRAIN, "data", lambda: description("statistics", "action", value=1)),
    "empty dataset": Mistake(TRAIN, "holds no finished episode", no_episodes),
    "empty dataset to verify": Mistake(VERIFY, "no finished episode", no_episodes),
    "empty dataset to export": Mistake("data export data --output new", "no finished episode", no_episodes),
    "a line that is nonsense": Mistake(
        TRAIN, "line 1 is damaged", lambda: (DATA / "episodes.jsonl").write_text("nonsense\n")
    ),
    "a line that is a number": Mistake(TRAIN, "line 1 is damaged", lambda: (DATA / "episodes.jsonl").write_text("5\n")),
    "a deep line": Mistake(
        TRAIN, "line 1 is damaged", lambda: (DATA / "episodes.jsonl").write_text("[" * 100_000 + "\n")
    ),
    "a way out": Mistake(
        TRAIN, "lies outside the dataset", lambda: edit_line(DATA / "episodes.jsonl", file="../full/file")
    ),
    "an absolute path": Mistake(
        VERIFY, "lies outside the dataset", lambda: edit_line(DATA / "episodes.jsonl", file="/etc/passwd")
    ),
    "a file that is a number": Mistake(TRAIN, "damaged", lambda: edit_line(DATA / "episodes.jsonl", file=5)),
    "a huge length": Mistake(TRAIN, "data", lambda: edit_line(DATA / "episodes.jsonl", length=10**15)),
    "a missing episode": Mistake(TRAIN, "episode_000000.safetensors", EPISODE.unlink),
    "a cut episode": Mistake(TRAIN, "episode_000000.safetensors", lambda: cut(EPISODE, -50)),
    "an episode that is none": Mistake(TRAIN, "episode_000000.safetensors", lambda: EPISODE.write_bytes(b"x" * 99)),
    "an episode of another shape": Mistake(
        TRAIN, "action", lambda: edit_episode(action=lambda action: action[:, :2].copy())
    ),
    "actions not finite": Mistake(TRAIN, "data", lambda: edit_episode(action=lambda action: action * np.nan)),
    "failures": Mistake(TRAIN, "--allow-failures", lambda: edit_line(DATA / "episodes.jsonl", success=False)),
    "other needs to resume": Mistake(
        "collect --env pick-place --episodes 3 --output data --resume", "cannot add to data: needs.vectors.state"
    ),
}

RUNS = {
    "no record": Mistake("compare run other", "run", lambda: (RUN / "run.json").unlink()),
    "a cut record": Mistake("compare run other", "run", lambda: cut(RUN / "run.json")),
    "a deep record": Mistake("report run", "run", lambda: (RUN / "run.json").write_text("[" * 100_000)),
    "a record of other types": Mistake(
        "report run", "expected policies.model of type str, got 5", lambda: run_record("policies", 0, "model", value=5)
    ),
    "a newer record": Mistake("compare other run", "run", lambda: run_record("schema_version", value=99)),
    "a huge number": Mistake("report run", "run", lambda: run_record("resolved", "episodes", value=-HUGE)),
    **{
        f"a huge {name}": Mistake(
            "compare run other",
            "run/episodes.jsonl, line 1",
            lambda name=name: edit_line(RUN / "episodes.jsonl", **{name: HUGE}),
        )
        for name in ("steps", "return", "seed", "episode_index")
    },
    "huge seconds": Mistake("compare run other", "timing.seconds", lambda: run_record("timing", "seconds", value=HUGE)),
    "an episode twice": Mistake(
        "compare run other",
        "repeats episode 0",
        lambda: (RUN / "episodes.jsonl").write_text(
            "\n".join((RUN / "episodes.jsonl").read_text().splitlines()[:1] * 2) + "\n"
        ),
    ),
    "a number that is none": Mistake(
        "report run", "expected finite numbers, got NaN", lambda: run_record("timing", "seconds", value=np.nan)
    ),
    "an episode that is none": Mistake(
        "compare run other", "line 1, is no episode", lambda: (RUN / "episodes.jsonl").write_text("nonsense\n")
    ),
    "an episode of other types": Mistake("report run", "run", lambda: edit_line(RUN / "episodes.jsonl", seed="1")),
    "a record to resume": Mistake(
        "rollout --model zero --env reach --episodes 2 --output run --resume", "run", lambda: cut(RUN / "run.json")
    ),
    "an episode to resume": Mistake(
        "rollout --model zero --env reach --episodes 2 --output run --resume",
        "run/episodes.jsonl",
        lambda: edit_line(RUN / "episodes.jsonl", status="won"),
    ),
    "another policy to resume": Mistake(
        "rollout --model random --env reach --episodes 2 --output run --resume", "cannot resume run", listing=True
    ),
    "another run to decide against": Mistake(
        "rollout --model zero --env pick-place --until-decided --vs run --output new", "run", listing=True
    ),
}

NO_GL = {
    "rollout": Mistake("rollout --model vla --output new", "libegl1", gl=False),
    "collect": Mistake(f"{COLLECT} --cameras front", "libegl1", gl=False),
    "record": Mistake("record --model zero --env reach --output new", "libegl1", gl=False),
    "record one film": Mistake("record --model zero --env reach --seeds 1 --output a/film.gif", "libegl1", gl=False),
    "rollout with a video": Mistake(
        "rollout --model zero --env reach --episodes 2 --video 1 --output new", "libegl1", gl=False
    ),
    "rollout with a video in workers": Mistake(
        "rollout --model zero --env reach --episodes 2 --video 1 --workers 2 --output new", "libegl1", gl=False
    ),
    "contact sheet": Mistake("envs --contact-sheet new.png", "libegl1", gl=False),
}

TABLE = {
    f"{kind}: {name}": mistake
    for kind, mistakes in {
        "name": NAMES,
        "flag": FLAGS,
        "value": VALUES,
        "contradiction": CONTRADICTIONS,
        "place": PLACES,
        "checkpoint": CHECKPOINTS,
        "dataset": DATASETS,
        "run": RUNS,
        "no GL": NO_GL,
    }.items()
    for name, mistake in mistakes.items()
}


@pytest.fixture
def no_gl(monkeypatch):
    """Makes every GL context fail, as on a machine without a display and without MUJOCO_GL."""

    def remove():
        for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"):
            monkeypatch.delenv(name, raising=False)

    return remove


@pytest.mark.parametrize("name", TABLE)
def test_a_mistake_is_one_line_and_changes_nothing(place, no_gl, capfd, name):
    """Also no module that a file names is imported: that would leave a file."""
    mistake = TABLE[name]
    mistake.damage()
    if not mistake.gl:
        no_gl()
    command, *arguments = mistake.command.split(" ")
    before = digest(place)
    assert MAINS[command](arguments) == (3 if command == "compare" else 2)
    line, *others = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert mistake.says in "\n".join([line, *others])
    assert mistake.listing or not others
    assert len(line) < 800
    assert digest(place) == before


@pytest.mark.parametrize(
    ("backend", "command", "said"),
    [
        ("egll", "--model zero --env reach", r"error: .*MUJOCO_GL: egll\); unset MUJOCO_GL, or .*\n"),
        pytest.param(
            "glfw",
            "--model vla",
            r"error: cannot render .*libegl1.*\n",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="elsewhere windows need no DISPLAY"),
        ),
    ],
)
def test_a_gl_backend_that_is_none_is_one_line(tmp_path, backend, command, said):
    """MuJoCo reads the variable once, when it is imported."""
    words = [sys.executable, "-m", "eval.rollout", *command.split(" "), "--output", str(tmp_path / "new")]
    environment = {name: value for name, value in os.environ.items() if "DISPLAY" not in name} | {"MUJOCO_GL": backend}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.fullmatch(said, done.stderr), done.stderr
    assert not list(tmp_path.iterdir())
