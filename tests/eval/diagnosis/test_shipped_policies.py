"""Shipped checkpoints get a clean bill on demonstrations of their tasks; with a fault in or around them they do not."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from eval import collect
from eval.diagnosis.diagnosis import diagnose
from eval.diagnosis.environment import spec_of
from policies.base import Policy
from policies.registry import make_policy
from simscaleai.data import Dataset

CHECKPOINTS = Path(__file__).resolve().parents[3] / "assets/checkpoints"


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """Collects demonstrations of a task, once for all tests."""
    root, made = tmp_path_factory.mktemp("recorded"), {}

    def collected(*flags):
        if flags not in made:
            made[flags] = root / str(len(made))
            assert collect.main(["--episodes", "14", "--quiet", "--output", str(made[flags]), *flags]) == 0
        return made[flags]

    return collected


PICK_PLACE = ("--env", "pick-place", "--cameras")
SEEN = ("--env", "pick-place", "--image-size", "96")
TOLD = ("--env", "pick-place-language", "--image-size", "96")


def diagnosed(folder, model):
    dataset = Dataset(folder)
    spec = spec_of(dataset, None)
    policy = make_policy(model, spec=spec) if isinstance(model, str) else model(spec)
    return diagnose(policy, dataset, spec, steps=8)


def faults(diagnosis):
    return [finding.fault for finding in diagnosis.findings]


@pytest.mark.parametrize(
    ("model", "flags"),
    [
        ("bc-reach", ("--env", "reach", "--action-noise", "0.2")),
        ("bc-pick-place", PICK_PLACE),
        ("scripted", PICK_PLACE),
    ],
)
def test_sound_policies_get_a_clean_bill(recorded, model, flags):
    diagnosis = diagnosed(recorded(*flags), model)
    assert (faults(diagnosis), diagnosis.notes) == ([], ())
    assert diagnosis.agreement.error < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "flags"),
    [
        ("bc-pick-place", (*PICK_PLACE, "--action-noise", "0.3")),
        ("bc-pick-place-image", SEEN),
        ("vla-robust", SEEN),
        ("vla-robust", TOLD),
        ("vla-robust", (*TOLD, "--perturb", "table.colour=3")),
        ("vla-pick-place-diffusion", TOLD),
    ],
)
def test_sound_policies_get_a_clean_bill_from_images(recorded, model, flags):
    assert faults(diagnosed(recorded(*flags), model)) == []


def test_random_actions_have_no_agreement(recorded):
    assert faults(diagnosed(recorded(*PICK_PLACE), "random")) == ["no_agreement"]


def test_zeros_are_constant(recorded):
    assert faults(diagnosed(recorded(*PICK_PLACE), "zero")) == ["constant"]


def damaged(tmp_path, change):
    """Returns a copy of a checkpoint whose normalisations of vectors were changed."""
    folder = shutil.copytree(CHECKPOINTS / "bc-pick-place", tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    change(config["processor"]["vectors"])
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def forget(vectors):
    for affine in vectors.values():
        affine["offset"], affine["scale"] = [0.0] * len(affine["offset"]), [1.0] * len(affine["scale"])


def take_from_reach(vectors):
    reach = json.loads((CHECKPOINTS / "bc-reach/config.json").read_text())["processor"]["vectors"]["state"]
    for name in ("offset", "scale"):
        vectors["state"][name][:17] = reach[name][:17]


@pytest.mark.parametrize("change", [forget, take_from_reach])
def test_a_normaliser_that_is_missing_or_of_another_dataset(recorded, tmp_path, change):
    found = diagnosed(recorded(*PICK_PLACE), damaged(tmp_path, change))
    assert set(faults(found)) == {"state.normaliser"}
    assert [finding.found.trial.effect.after < 0.3 for finding in found.findings][-1]


class Adapter(Policy):
    """Wraps a checkpoint, with a fault in subclasses."""

    model = "bc-pick-place-image"

    def __init__(self, spec):
        self.inner = make_policy(self.model, spec=spec)
        self.needs, self.options = self.inner.needs, self.inner.options

    def reset(self, slots, seeds, instructions):
        self.inner.reset(slots, seeds, [self.read(text) for text in instructions])

    def read(self, text):
        return text

    def predict(self, observation, slots):
        seen = {key: np.ascontiguousarray(values) for key, values in self.see(observation).items()}
        return self.inner.predict(observation | seen, slots)

    def see(self, observation):
        return {}


def seeing(see, model="bc-pick-place-image"):
    return type("Seeing", (Adapter,), {"see": lambda self, seen: see(seen), "model": model})


def test_the_state_in_another_order(recorded):
    def gripper_first(seen):
        return {"state": seen["state"][:, [17, *range(17)]]}

    (finding,) = diagnosed(recorded(*PICK_PLACE), seeing(gripper_first, "bc-pick-place")).findings
    assert finding.fault == "state.order"
    assert "gripper_opening, joint_positions, joint_velocities, ee_position" in finding.cause


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "see"),
    [
        ("images.channels", lambda seen: {"front": seen["front"][..., ::-1], "wrist": seen["wrist"][..., ::-1]}),
        ("images.flipped", lambda seen: {"front": seen["front"][:, ::-1], "wrist": seen["wrist"][:, ::-1]}),
        ("images.rotated", lambda seen: {"front": seen["front"][:, ::-1, ::-1]}),
        ("cameras.swapped", lambda seen: {"front": seen["wrist"], "wrist": seen["front"]}),
        ("images.range", lambda seen: {key: (seen[key] / 255).astype(np.uint8) for key in ("front", "wrist")}),
    ],
)
def test_faults_of_images(recorded, fault, see):
    assert faults(diagnosed(recorded(*SEEN), seeing(see))) == [fault]


@pytest.mark.slow
def test_an_instruction_that_is_always_the_same(recorded):
    kind = type("Deaf", (Adapter,), {"model": "vla-robust", "read": lambda self, text: "pick up the red cube"})
    assert "instruction.ignored" in faults(diagnosed(recorded(*TOLD), kind))


@pytest.mark.slow
def test_a_chunk_that_is_executed_too_long(recorded):
    def make(spec):
        return make_policy("vla-robust", spec=spec, options={"n_action_steps": "8"})

    late = diagnosed(recorded(*TOLD, "--action-noise", "0.3"), make)
    assert late.agreement.executed == 8
    assert late.agreement.along_chunk[1] < late.agreement.along_chunk[8]
