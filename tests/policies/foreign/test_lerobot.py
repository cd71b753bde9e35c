"""Checkpoints of LeRobot: what fits an environment, what is refused, and that actions are those of a plain loop.

A stand-in for the package runs in this process; `python -m benchmarks.peers.lerobot_policies` runs the package itself.
"""

import importlib
import json
import os
import sys
import types
from collections import deque
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch

from policies.foreign.libraries.lerobot import fit, locate
from policies.registry import make_policy
from simscaleai.contract import ActionSpec, EnvSpec, Feature, Layout
from simscaleai.errors import MismatchError, SimScaleError

ROOT = Path(__file__).resolve().parents[3]
FACTS = {
    "inputs": {"observation.state": ["STATE", [3]], "observation.images.front": ["VISUAL", [3, 20, 30]]},
    "action_size": 2,
    "reads_instruction": False,
    "n_action_steps": 4,
    "horizon": 8,
}


def spec(**changes):
    return EnvSpec(
        **{
            "env_id": "Toy-v0",
            "digest": "",
            "vectors": {
                "state": Layout((Feature("position", 3, "m", "world"),)),
                "environment_state": Layout((Feature("object", 3, "m", "world"),), privileged=True),
            },
            "cameras": {"front": None, "wrist": (10, 10)},
            "action": ActionSpec(names=("x", "y"), low=(-1, -1), high=(1, 1), meaning="a displacement"),
            "control_hz": 10,
            "max_episode_steps": 10,
            "success": "never",
            **changes,
        }
    )


def test_the_names_of_our_export_fit_without_an_option():
    found = fit(FACTS, spec())
    assert found.keys == {"observation.state": "state", "observation.images.front": "front"}
    assert found.needs.cameras == {"front": (20, 30)}
    assert found.options == {"n_action_steps": 4}


def test_the_names_of_gymnasium_fit():
    inputs = {"observation.state": ["STATE", [3]], "observation.image": ["VISUAL", [3, 10, 10]]}
    gym = spec(vectors={"agent_pos": spec().vectors["state"]}, cameras={"pixels": (10, 10)})
    assert fit({**FACTS, "inputs": inputs}, gym).keys == {
        "observation.state": "agent_pos",
        "observation.image": "pixels",
    }


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"inputs": {"observation.images.top": ["VISUAL", [3, 20, 30]]}}, "images.top: environment has front, wrist"),
        ({"inputs": {"observation.images.wrist": ["VISUAL", [3, 20, 30]]}}, r"20x30 px .* environment 10x10 px"),
        ({"inputs": {"observation.state": ["STATE", [8]]}}, "policy 8 numbers, environment 3"),
        ({"inputs": {"observation.effort": ["STATE", [8]]}}, "effort: environment has state, environment_state"),
        ({"action_size": 7}, "action: policy 7 numbers, environment 2"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(changes, problem):
    with pytest.raises(MismatchError, match=problem):
        fit({**FACTS, **changes}, spec())


def write_checkpoint(folder, *without):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"type": "act"}))
    for name in ("model.safetensors", "policy_preprocessor.json", "policy_postprocessor.json"):
        if name not in without:
            (folder / name).touch()
    return folder


def test_the_output_folder_of_a_training_names_its_last_checkpoint(tmp_path):
    folder = write_checkpoint(tmp_path / "checkpoints" / "last" / "pretrained_model")
    assert locate(str(tmp_path)) == locate(str(folder.parent)) == locate(str(folder)) == folder


def test_a_folder_without_the_name_of_the_library(tmp_path):
    with pytest.raises(SimScaleError, match=f"say --model lerobot:{tmp_path}/act"):
        make_policy(str(write_checkpoint(tmp_path / "act")), spec=spec())


def test_a_pipe_in_place_of_the_configuration_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(SimScaleError, match="expected a folder with a checkpoint of LeRobot"):
        locate(str(tmp_path))


def test_folders_that_hold_no_complete_checkpoint(tmp_path):
    with pytest.raises(SimScaleError, match="expected a folder with a checkpoint of LeRobot"):
        locate(str(tmp_path))
    with pytest.raises(SimScaleError, match=r"lacks model.safetensors$"):
        locate(str(write_checkpoint(tmp_path / "weights", "model.safetensors")))
    old = write_checkpoint(tmp_path / "old", "policy_preprocessor.json", "policy_postprocessor.json")
    with pytest.raises(SimScaleError, match=r"before 0.4"):
        locate(str(old))


def test_a_folder_that_is_not_there_and_a_name_of_the_hub(tmp_path, monkeypatch):
    with pytest.raises(SimScaleError, match=r"none, which does not exist$"):
        locate(str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SimScaleError, match=r"not exist; .* hf download lerobot/act_aloha --local-dir FOLDER"):
        locate("lerobot/act_aloha")


def test_a_file_or_a_folder_too_high_names_what_to_name(tmp_path):
    folder = write_checkpoint(tmp_path / "final")
    with pytest.raises(SimScaleError, match="name one of its folders, such as 'final'"):
        locate(str(tmp_path))
    with pytest.raises(SimScaleError, match="which is a file; name its folder"):
        locate(str(folder / "model.safetensors"))


# The side of the host


class Kind(Enum):
    STATE = "STATE"
    ACTION = "ACTION"


class ToyPolicy(torch.nn.Module):
    """Looks at a state, and draws noise. With `memory`, it adds its chunk before, in one of its two methods."""

    def __init__(self, memory="", noise=0.0, weight=1.0):
        super().__init__()
        self.layer = torch.nn.Linear(3, 8, bias=False)
        torch.nn.init.constant_(self.layer.weight, weight)
        self.memory, self.noise = memory, noise
        self.reset()

    def reset(self):
        self.queue, self.before = deque(), None

    def predict_action_chunk(self, batch):
        chunk = self.layer(batch["observation.state"]).reshape(1, 4, 2)
        chunk = chunk + self.noise * torch.randn(chunk.shape)
        return self.added(chunk) if self.memory == "chunk" else chunk

    def added(self, chunk):
        chunk, self.before = chunk if self.before is None else chunk + self.before, chunk
        return chunk

    def select_action(self, batch):
        if not self.queue:
            chunk = self.predict_action_chunk(batch)
            chunk = self.added(chunk) if self.memory == "select" else chunk
            self.queue.extend(chunk[:, :3].transpose(0, 1))
        return self.queue.popleft()


class Normaliser:
    """A processor with one step, which adds 1."""

    norm_map = ()

    def __init__(self, *names, offset=1.0):
        self.stats, self.offset = {name: {"mean": 0, "std": 1} for name in names}, offset
        self.steps = [self]

    def __call__(self, given):
        if isinstance(given, dict):
            return {**given, "observation.state": given["observation.state"] + self.offset}
        return given + self.offset


@pytest.fixture
def lerobot_policy(monkeypatch):
    """The module of the host, with a stand-in for the package."""
    for folder in ("simscaleai/hosting", "policies/foreign/libraries"):
        monkeypatch.syspath_prepend(ROOT / folder)
    names = ("answering", "wire", "streams", "lerobot_policy")
    modules = {name: importlib.import_module(name) for name in names}
    yield modules["lerobot_policy"]
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def load(lerobot_policy, monkeypatch):
    def load(policy, before=None, after=None):
        processors = before or Normaliser("observation.state"), after or Normaliser("action", offset=0.5)

        def from_pretrained(folder, config, strict):
            assert strict
            if isinstance(policy, Exception):
                raise policy
            return policy

        def make_pre_post_processors(*args, **keywords):
            if isinstance(before, Exception):
                raise before
            return processors

        config = types.SimpleNamespace(
            type="toy",
            use_amp=False,
            n_action_steps=3,
            input_features={"observation.state": types.SimpleNamespace(type=Kind.STATE, shape=(3,))},
            output_features={"action": types.SimpleNamespace(type=Kind.ACTION, shape=(2,))},
            normalization_mapping=dict.fromkeys(("STATE", "ACTION"), types.SimpleNamespace(value="MEAN_STD")),
        )
        factory = types.SimpleNamespace(
            get_policy_class=lambda name: types.SimpleNamespace(from_pretrained=from_pretrained),
            make_pre_post_processors=make_pre_post_processors,
        )
        configs = types.SimpleNamespace(PreTrainedConfig=types.SimpleNamespace(from_pretrained=lambda folder: config))
        stand_ins = {"policies": types.ModuleType("policies"), "configs.policies": configs, "policies.factory": factory}
        for name, module in stand_ins.items():
            monkeypatch.setitem(sys.modules, f"lerobot.{name}", module)
        return lerobot_policy.load("folder", {"device": "cpu"})

    return load


def plain_loop(policy, seed, states):
    """Return the actions of a loop of `select_action`, as `lerobot-eval` runs one environment."""
    torch.manual_seed(seed)
    policy.reset()
    before, after = Normaliser("observation.state"), Normaliser("action", offset=0.5)
    with torch.inference_mode():
        batches = ({"task": [""], "observation.state": torch.from_numpy(state)[None]} for state in states)
        return np.concatenate([after(policy.select_action(before(batch))).numpy() for batch in batches])


@pytest.mark.parametrize(("memory", "horizon"), [("", 4), ("select", 1), ("chunk", 1)])
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_two_slots_in_turn_give_the_actions_of_two_plain_loops(load, lerobot_policy, memory, noise, horizon):
    policy = load(ToyPolicy(memory, noise))
    facts = policy.facts()
    assert (facts["horizon"], facts["n_action_steps"]) == (horizon, 3 if horizon > 1 else 1)
    states = np.random.default_rng(1).normal(size=(2, 7, 3)).astype(np.float32)
    streams = lerobot_policy.streams.Streams()
    for slot in (0, 1):
        streams.begin(slot, slot)
        policy.begin(slot, "")
    found = {0: [], 1: []}
    for step in range(7):
        for slot in (0, 1):
            if len(found[slot]) <= step:
                streams.use(slot)
                chunk = policy.act(slot, {"observation.state": states[slot, step]})
                found[slot].extend(chunk[: facts["n_action_steps"]])
    for slot in (0, 1):
        expected = plain_loop(ToyPolicy(memory, noise), slot, states[slot])
        assert np.array(found[slot][:7]).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("policy", "processors", "problem"),
    [
        (ToyPolicy(), {"before": Normaliser()}, "observation.state is normalised by MEAN_STD .* lacks mean and std"),
        (ToyPolicy(), {"after": Normaliser("observation.state")}, "action is normalised"),
        (ToyPolicy(), {"before": FileNotFoundError("n.safetensors")}, "copy the whole folder .* n.safetensors"),
        (ToyPolicy(weight=float("nan")), {}, "not finite"),
        (RuntimeError("Missing key(s): layer.weight"), {}, "do not make a complete model .* Missing key"),
    ],
)
def test_a_checkpoint_that_is_not_complete_is_refused(load, policy, processors, problem):
    with pytest.raises(Exception, match=problem) as mistake:
        load(policy, **processors)
    assert type(mistake.value).__name__ == "Mistake"
