"""Receipts: what is recorded is what the policy got, and recording it changes nothing."""

import base64
import io

import numpy as np
import point_world
import pytest
from PIL import Image

from eval.episodes.plan import EpisodeSpec, plan_episodes
from eval.episodes.probe import Probe
from eval.observers.receipts import ReceiptWriter
from eval.runs.receipts import collect_receipts, read_receipts, received_digest
from simscaleai.files import WriteError

SEED = 3_000_000_500
PLAN = plan_episodes(6, SEED)
NEEDS = point_world.Homing(cameras=True).needs


def received_again(receipt, needs):
    """Returns the arrays that a receipt shows, from its JSON alone."""
    received = {
        key: np.concatenate([feature.values for feature in receipt.vectors[key]]).astype(np.float32)
        for key in needs.vectors
    }
    for camera in needs.cameras:
        received[camera] = np.asarray(Image.open(io.BytesIO(base64.b64decode(receipt.images[camera]))))
    return received


def spy_on(policy):
    """Lets `policy` note what it gets at each first look, and overwrite all that it gets; returns the notes."""
    notes, waiting = {}, {}
    reset, predict = policy.reset, policy.predict

    def noting_reset(slots, seeds, instructions):
        waiting.update(zip(slots.tolist(), zip(seeds, instructions, strict=True), strict=True))
        reset(slots, seeds, instructions)

    def noting_predict(observation, slots):
        for row, slot in enumerate(slots.tolist()):
            if slot in waiting:
                seed, instruction = waiting.pop(slot)
                notes[seed] = ({key: rows[row].copy() for key, rows in observation.items()}, instruction)
        chunks = predict(observation, slots)
        for rows in observation.values():
            rows[:] = 7
        return chunks

    policy.reset, policy.predict = noting_reset, noting_predict
    return notes


@pytest.fixture
def keep(run_point, tmp_path):
    """Runs the plan and returns the receipts."""

    def run(num_slots=3, *, disturb=lambda env, policy: None, plan=PLAN, probes=()):
        writer = ReceiptWriter(tmp_path, NEEDS)
        run_point(plan, num_slots, observers=[writer], disturb=disturb, probes=probes, cameras=True)
        collect_receipts(tmp_path)
        return read_receipts(tmp_path)

    return run


class Brighter(Probe):
    def observe(self, observation, slots):
        return observation | {"front": observation["front"] + np.uint8(9)}


@pytest.mark.parametrize("num_slots", [1, 4])
@pytest.mark.parametrize("probes", [[], [Brighter()]])
def test_a_receipt_holds_what_the_policy_got(keep, num_slots, probes):
    notes = {}
    receipts = keep(num_slots, disturb=lambda env, policy: notes.update(spied=spy_on(policy)), probes=probes)
    assert [(receipt.episode_index, receipt.seed) for receipt in receipts] == [(i, SEED + i) for i in range(3)]
    for receipt in receipts:
        received, instruction = notes["spied"][receipt.seed]
        again = received_again(receipt, NEEDS)
        assert again.keys() == received.keys()
        for key, values in received.items():
            np.testing.assert_array_equal(again[key], values)
        assert receipt.instruction == instruction == f"move {receipt.seed % 3}"
        assert receipt.digest == received_digest(received, instruction) == received_digest(again, instruction)
        assert np.shape(receipt.actions) == (2, 2)
    position = receipts[0].vectors["position"][0]
    assert (position.name, position.unit, position.frame) == ("position", "m", "world")
    assert len({receipt.digest for receipt in receipts}) == 3


def test_keeping_receipts_changes_no_episode(run_point, tmp_path):
    plain, _, _ = run_point(PLAN, 3, cameras=True)
    kept, _, _ = run_point(PLAN, 3, cameras=True, observers=[ReceiptWriter(tmp_path, NEEDS)])
    assert kept == plain


def test_receipts_belong_to_episodes_also_where_seeds_repeat(keep):
    plan = [EpisodeSpec(index, SEED) for index in range(4)]
    receipts = keep(plan=plan)
    assert [receipt.episode_index for receipt in receipts] == [0, 1, 2]
    assert len({receipt.digest for receipt in receipts}) == 1


@pytest.mark.parametrize("num_slots", [1, 3])
def test_a_policy_that_raises_at_its_first_look_leaves_what_it_got(keep, num_slots):
    def disturb(env, policy):
        policy.raises = {SEED + 1: 0}

    first, raised, third = keep(num_slots, disturb=disturb)
    assert raised.actions is None
    assert raised.vectors["position"][0].values
    for receipt in (first, third):
        assert np.shape(receipt.actions) == (2, 2)


def test_a_policy_that_raises_before_its_first_look_leaves_nothing(keep):
    def disturb(env, policy):
        policy.raises = {SEED + 1: "reset"}

    assert [receipt.episode_index for receipt in keep(disturb=disturb)] == [0, 2]


def test_numbers_that_are_not_finite_stay_json(keep):
    def disturb(env, policy):
        policy.predict = lambda observation, slots: np.full((len(slots), 1, 2), np.nan, dtype=np.float32)

    assert keep(disturb=disturb)[0].actions == [[None, None]]


def test_a_receipt_that_cannot_be_written_ends_the_run(run_point, tmp_path):
    with pytest.raises(WriteError, match="cannot write"):
        run_point(PLAN, 1, observers=[ReceiptWriter(tmp_path / "gone", NEEDS)], cameras=True)
