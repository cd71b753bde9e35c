"""What the tests of this folder share: a mistake, how it is checked, and ways to damage files."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from safetensors.numpy import load_file, save_file

import envs.__main__
import policies.__main__
import simscaleai.data.__main__
import simscaleai.train
from eval import __main__, collect, compare, record, rollout, validate
from eval.report import __main__ as report

DATA, RUN, MODEL = Path("data"), Path("run"), Path("bc")
EPISODE = DATA / "episodes/episode_000000.safetensors"
CANARY = "canary_module"
LEARNED = "rollout --model bc --checkpoint bc --env reach --episodes 1 --output new"
TRAIN = "train --model bc --dataset data --output new --steps 1"
COLLECT = "collect --env reach --episodes 1 --output new"
HUGE = 10**400
LONG = "n" * 300
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
    listing: bool = False
    """Whether the line is followed by an indented list of differences."""


def check(mistake, place, capfd):
    """Run the command of `mistake` in `place`: it must say one line, and change nothing there."""
    mistake.damage()
    command, *arguments = mistake.command.split(" ")
    before = digest(place)
    assert MAINS[command](arguments) == (3 if command == "compare" else 2)
    line, *others = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert mistake.says in "\n".join([line, *others])
    assert mistake.listing or not others
    assert len(line) < 800
    assert digest(place) == before


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
