"""Each fault is planted in a policy that is right otherwise: the diagnosis names it, and the sound policy is clean."""

from dataclasses import replace

import numpy as np
import pytest
from seeing_world import MEAN, SPREAD, Solver, write_dataset

from eval.diagnosis.diagnosis import diagnose
from eval.diagnosis.environment import spec_of
from simscaleai.data import Dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeing") / "data"
    write_dataset(folder, episodes=14)
    return folder


def diagnosed(folder, kind, **options):
    dataset = Dataset(folder)
    spec = spec_of(dataset, None)
    policy = kind(spec)
    return diagnose(policy, dataset, spec, steps=8, **options)


def faults(diagnosis):
    return [finding.fault for finding in diagnosis.findings]


def seeing(see):
    """Returns a policy that changes its observations before it solves the task."""
    return type("Seeing", (Solver,), {"see": lambda self, seen: seen | see(seen)})


def giving(give):
    return type("Giving", (Solver,), {"give": lambda self, actions, seen: give(actions, seen)})


def changed(actions, number, value):
    actions = actions.copy()
    actions[:, number] = value
    return actions


def both(change):
    return lambda seen: {camera: change(seen[camera]) for camera in ("front", "wrist")}


SEEN = {
    "images.flipped": both(lambda images: images[:, ::-1]),
    "images.mirrored": both(lambda images: images[:, :, ::-1]),
    "images.rotated": both(lambda images: images[:, ::-1, ::-1]),
    "images.channels": both(lambda images: images[..., ::-1]),
    "images.range": both(lambda images: images / 255),
    "cameras.swapped": lambda seen: {"front": seen["wrist"], "wrist": seen["front"]},
    "state.order": lambda seen: {"state": seen["state"][:, [5, 0, 1, 2, 3, 4]]},
    "state.units": lambda seen: {"state": seen["state"] * [1000, 1000, 1000, 1, 1, 1000]},
    "state.normaliser": lambda seen: {"state": (seen["state"] - MEAN) / SPREAD},
}
GIVEN = {
    "action.sign": lambda actions, seen: changed(actions, 3, -actions[:, 3]),
    "action.order": lambda actions, seen: actions[:, [1, 0, 2, 3]],
    "action.scale": lambda actions, seen: actions * [0.4, 0.4, 0.4, 1],
    "action.absolute": lambda actions, seen: np.c_[seen["state"][:, :3] + 0.02 * actions[:, :3], actions[:, 3]],
    "constant": lambda actions, seen: np.full_like(actions, 0.1),
    "constant_entry": lambda actions, seen: changed(actions, 3, 1.0),
    "no_agreement": lambda actions, seen: np.sin(1000 * actions),
    "not_finite": lambda actions, seen: changed(actions, 0, np.nan),
}


def test_a_sound_policy_gets_a_clean_bill(folder):
    diagnosis = diagnosed(folder, Solver)
    assert (diagnosis.findings, diagnosis.notes) == ((), ())
    assert diagnosis.agreement.error < 1e-6
    assert diagnosis.agreement.entries[3].same_side == 1.0


@pytest.mark.parametrize("fault", SEEN)
def test_a_fault_between_observation_and_model_is_named(folder, fault):
    assert faults(diagnosed(folder, seeing(SEEN[fault]))) == [fault]


@pytest.mark.parametrize("fault", GIVEN)
def test_a_fault_between_model_and_action_is_named(folder, fault):
    assert faults(diagnosed(folder, giving(GIVEN[fault]))) == [fault]


@pytest.mark.parametrize("text", ["", "take the red one"])
def test_an_instruction_that_is_missing_or_always_the_same_is_named(folder, text):
    kind = type("Deaf", (Solver,), {"read": lambda self, given: text})
    assert "instruction.ignored" in faults(diagnosed(folder, kind))


def test_a_lost_policy_has_no_wrong_scale(folder):
    def lost(actions, seen):
        return 5 * (np.sin(1000 * actions) + 0.3 * actions)

    assert faults(diagnosed(folder, giving(lost))) == ["no_agreement"]


def test_two_faults_are_found_one_after_the_other(folder):
    kind = seeing(SEEN["images.flipped"])
    kind.give = lambda self, actions, seen: GIVEN["action.sign"](actions, seen)
    assert sorted(faults(diagnosed(folder, kind))) == ["action.sign", "images.flipped"]


def test_an_absolute_dataset_and_a_policy_that_gives_displacements(tmp_path):
    write_dataset(tmp_path / "data", episodes=14, absolute=True)
    diagnosis = diagnosed(tmp_path / "data", giving(lambda actions, seen: actions))
    assert faults(diagnosis) == ["action.absolute"]
    assert "the policy gives displacements" in diagnosis.findings[0].cause


class Repeating(Solver):
    """Gives its action eight times."""

    def predict(self, observation, slots):
        return np.repeat(super().predict(observation, slots), 8, axis=1)


def test_a_chunk_that_is_executed_too_long(folder):
    diagnosis = diagnosed(folder, Repeating)
    assert faults(diagnosis) == ["chunk.too_long"]
    assert "n_action_steps=1" in diagnosis.findings[0].remedy
    along = diagnosis.agreement.along_chunk
    assert along[1] < along[2] < along[4] < along[8]
    short = type("Short", (Repeating,), {"options": {"n_action_steps": 1}})
    assert faults(diagnosed(folder, short)) == []


class Queueing(Solver):
    """Executes eight times what it gave at its latest look: the evaluator does not see the chunk."""

    def __init__(self, spec):
        super().__init__(spec)
        self.kept = {}

    def reset(self, slots, seeds, instructions):
        super().reset(slots, seeds, instructions)
        for slot in slots.tolist():
            self.kept[slot] = (0, None)

    def predict(self, observation, slots):
        fresh = super().predict(observation, slots)
        given = []
        for row, slot in enumerate(slots.tolist()):
            age, kept = self.kept[slot]
            kept = fresh[row] if age % 8 == 0 else kept
            self.kept[slot] = (age + 1, kept)
            given.append(kept)
        return np.stack(given)


def test_a_hidden_chunk_that_is_executed_too_long(folder):
    assert faults(diagnosed(folder, Queueing)) == ["memory.stale"]


class Late(Solver):
    """Answers the observation before the last one."""

    def reset(self, slots, seeds, instructions):
        super().reset(slots, seeds, instructions)
        self.earlier = getattr(self, "earlier", {}) | {slot: [] for slot in slots.tolist()}

    def predict(self, observation, slots):
        for row, slot in enumerate(slots.tolist()):
            self.earlier[slot].append({key: values[row] for key, values in observation.items()})
        seen = [self.earlier[slot][-3:][0] for slot in slots.tolist()]
        return super().predict({key: np.stack([each[key] for each in seen]) for key in observation}, slots)


def test_answers_that_come_too_late(folder):
    (finding,) = diagnosed(folder, Late).findings
    assert finding.fault == "memory.stale"
    assert ["2 control steps too late" in other.correction.cause for other in finding.found.alternatives] == [True]


class Small(Solver):
    """Asks for smaller images and enlarges them for the model."""

    needs = replace(Solver.needs, cameras={"front": (2, 2), "wrist": (2, 2)})

    def see(self, seen):
        return seen | {camera: seen[camera].repeat(8, 1).repeat(8, 2) for camera in ("front", "wrist")}


def test_images_of_another_size(folder):
    findings = {finding.fault: finding for finding in diagnosed(folder, Small).findings}
    assert findings.keys() == {"images.size", "instruction.ignored"}  # 2×2 px show no colour to follow
    assert "front with 2×2 px, the dataset has 16×16 px" in findings["images.size"].cause


def test_an_input_without_influence_is_noted(folder):
    assert diagnosed(folder, seeing(lambda seen: {"wrist": seen["front"]})).notes == (
        "the policy gets wrist and does not use it",
    )


@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_noisy_demonstrations_are_no_fault(tmp_path, noise):
    write_dataset(tmp_path / "data", episodes=14, noise=noise)
    assert faults(diagnosed(tmp_path / "data", Solver)) == []


def test_too_few_episodes_are_refused(tmp_path):
    write_dataset(tmp_path / "data", episodes=11)
    with pytest.raises(ValueError, match="at least 12 episodes"):
        diagnosed(tmp_path / "data", Solver)
