"""Receipts: what is recorded is what the policy got, however the run was run, and recording it changes nothing."""

import base64
import json
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

from envs.interface import Contract
from eval import rollout
from eval.assembly import build_environment, build_policy
from eval.plan import plan_episodes
from eval.receipt import ReceiptKeeper, collect_receipts, receipted, received_digest, remove_receipts
from eval.results import ResultsError, RunRecord, read_results

SEED = 3_000_000_500
PLAN = plan_episodes(6, SEED)
FLAGS = ["--env", "reach", "--episodes", "6", "--seed", str(SEED)]


def received_again(receipt, contract):
    """Returns the arrays that a receipt shows, from its JSON alone."""
    received = {
        key: np.concatenate([feature["values"] for feature in receipt[key]]).astype(np.float32)
        for key in contract.vectors
    }
    if contract.cameras:
        views = [imageio.imread(base64.b64decode(receipt["images"][camera])) for camera in contract.cameras]
        received["image"] = np.concatenate(views, axis=-1)
    return received


def spy_on(policy):
    """Lets `policy` note what `act` gets at each first step, and scribble over all it gets; returns the notes."""
    notes, waiting = {}, {}
    reset, act = policy.reset, policy.act

    def noting_reset(env_ids, seeds, instructions):
        waiting.update(zip(env_ids.tolist(), zip(seeds, instructions, strict=True), strict=True))
        reset(env_ids, seeds, instructions)

    def noting_act(observation, env_ids):
        for row, slot in enumerate(env_ids.tolist()):
            if slot in waiting:
                seed, instruction = waiting.pop(slot)
                notes[seed] = ({key: rows[row].copy() for key, rows in observation.items()}, instruction)
        actions = act(observation, env_ids)
        for rows in observation.values():
            rows[:] = 7
        return actions

    policy.reset, policy.act = noting_reset, noting_act
    return notes


@pytest.mark.parametrize("num_envs", [1, 4])
def test_a_receipt_holds_what_act_got(make_env, make_policy, tmp_path, num_envs):
    env = make_env(num_envs, cameras=("front", "wrist"))
    render = env.render_images
    env.render_images = lambda mask: render(mask) + np.arange(6, dtype=np.uint8)  # every channel looks different
    policy = make_policy(env)
    notes = spy_on(policy)
    rollout.rollout(env, ReceiptKeeper(policy, tmp_path, receipted(PLAN)), PLAN)
    receipts = collect_receipts(tmp_path)
    assert [(receipt["episode_index"], receipt["seed"]) for receipt in receipts] == [(i, SEED + i) for i in range(3)]
    for receipt in receipts:
        received, instruction = notes[receipt["seed"]]
        again = received_again(receipt, env.contract)
        assert again.keys() == received.keys()
        for key, values in received.items():
            np.testing.assert_array_equal(again[key], values)
        assert receipt["instruction"] == instruction == f"move {receipt['seed'] % 3}"
        assert receipt["digest"] == received_digest(received, instruction) == received_digest(again, instruction)
    position = receipts[0]["state"][0]
    assert (position["name"], position["unit"], position["frame"]) == ("position", "m", "world")
    assert len({receipt["digest"] for receipt in receipts}) == 3


def test_the_digest_covers_every_array_and_the_instruction():
    received = {"state": np.zeros(2, np.float32), "image": np.zeros((2, 2, 3), np.uint8)}
    others = [
        (received, "go"),
        (received, "stop"),
        (received | {"state": np.array([0, 1], np.float32)}, "go"),
        (received | {"image": np.full((2, 2, 3), 1, np.uint8)}, "go"),
        (received | {"image": np.zeros((2, 1, 6), np.uint8)}, "go"),
    ]
    assert len({received_digest(*other) for other in others}) == len(others)


def test_keeping_receipts_changes_no_episode(make_env, make_policy, tmp_path):
    env = make_env(3, cameras=("front",))
    plain = rollout.rollout(env, make_policy(env), PLAN)
    env = make_env(3, cameras=("front",))
    assert rollout.rollout(env, ReceiptKeeper(make_policy(env), tmp_path, receipted(PLAN)), PLAN) == plain


def test_an_episode_that_is_broken_off_before_it_acts_leaves_nothing(make_env, make_policy, tmp_path):
    env = make_env(1)
    keeper, slots = ReceiptKeeper(make_policy(env), tmp_path, {SEED: 0}), np.array([0])
    keeper.reset(slots, [SEED], ["go"])
    keeper.reset(slots, [SEED + 5], ["stop"])
    keeper.act({key: np.zeros((1, 2), np.float32) for key in env.contract.vectors}, slots)
    assert collect_receipts(tmp_path) == []


@pytest.mark.parametrize("num_envs", [1, 3])
def test_a_policy_that_raises_at_its_first_step_leaves_what_it_got(make_env, make_policy, tmp_path, num_envs, caplog):
    env = make_env(num_envs)
    policy = make_policy(env)
    policy.raises = {SEED + 1: 0}
    rollout.rollout(env, ReceiptKeeper(policy, tmp_path, receipted(PLAN)), PLAN)
    first, raised, third = collect_receipts(tmp_path)
    assert raised["actions"] is None
    assert raised["state"][0]["values"]
    for receipt in (first, third):
        assert np.shape(receipt["actions"]) == (1, 4)


def test_numbers_that_are_not_finite_stay_json(make_env, make_policy, tmp_path):
    env = make_env(1)
    policy = make_policy(env)
    policy.act = lambda observation, env_ids: np.full((len(env_ids), 4), np.nan, dtype=np.float32)
    rollout.rollout(env, ReceiptKeeper(policy, tmp_path, receipted(PLAN)), PLAN)
    assert collect_receipts(tmp_path)[0]["actions"] == [[None] * 4]


def test_actions_of_the_wrong_shape_are_still_refused(make_env, make_policy, tmp_path):
    env = make_env(1)
    policy = make_policy(env)
    policy.act = lambda observation, env_ids: np.zeros(3, dtype=np.float32)
    with pytest.raises(ValueError, match="expected actions of shape"):
        rollout.rollout(env, ReceiptKeeper(policy, tmp_path, receipted(PLAN)), PLAN)


def test_a_receipt_that_cannot_be_written_ends_the_run(make_env, make_policy, tmp_path):
    env = make_env(1)
    with pytest.raises(ResultsError, match="cannot write"):
        rollout.rollout(env, ReceiptKeeper(make_policy(env), tmp_path / "gone", receipted(PLAN)), PLAN)


def test_receipts_of_other_episodes_stay_and_files_go(tmp_path):
    for name, text in ((".receipt_000001.json", '{"episode_index": 1, "seed": 8}'), ("run.json", "{}")):
        (tmp_path / name).write_text(text)
    (tmp_path / "..receipt_000002.json.partial").write_text("{")
    earlier = [{"episode_index": 1, "seed": 0}, {"episode_index": 0, "seed": 7}]
    assert collect_receipts(tmp_path, earlier) == [{"episode_index": 0, "seed": 7}, {"episode_index": 1, "seed": 8}]
    remove_receipts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a model; returns the receipts in its record."""
    monkeypatch.chdir(tmp_path)

    def begin(model, folder, *flags, code=0):
        assert rollout.main(["--model", str(model), *FLAGS, *flags, "--output", folder]) == code
        return RunRecord.read(Path(folder)).receipts

    return begin


@pytest.mark.parametrize("name", ["bc-image", "vla-mlp"])
def test_receipts_of_a_learned_policy_are_the_same_for_any_shape_and_change_no_digest(run, make_checkpoint, name):
    checkpoint = make_checkpoint(name)
    receipts = run(checkpoint, "a", "--num-envs", "4")
    assert run(checkpoint, "b", "--num-envs", "1", "--workers", "2") == receipts
    assert [receipt["episode_index"] for receipt in receipts] == [0, 1, 2]
    contract = Contract.from_json(RunRecord.read(Path("a")).contract)
    horizon = 4 if name == "vla-mlp" else 1
    for receipt in receipts:
        assert receipt["digest"] == received_digest(received_again(receipt, contract), receipt["instruction"])
        assert np.shape(receipt["actions"]) == (horizon, 4)
        assert np.shape(received_again(receipt, contract)["image"]) == (40, 40, 3)
        assert received_again(receipt, contract)["image"].std() > 1
    policy = build_policy(str(checkpoint), None, "SimScale/Reach-v0")
    env = build_environment(policy.contract, "SimScale/Reach-v0", 4)
    assert rollout.rollout(env, policy, PLAN) == read_results(Path("a/episodes.jsonl"))


def test_the_actions_are_the_chunk_that_the_policy_executes(make_checkpoint, tmp_path):
    policy = build_policy(str(make_checkpoint("vla-mlp")), None, "SimScale/Reach-v0")
    env = build_environment(policy.contract, "SimScale/Reach-v0", 1)
    act, executed = policy.act, []

    def noting_act(observation, env_ids):
        executed.append(act(observation, env_ids)[0])
        return executed[-1][None]

    policy.act = noting_act
    rollout.rollout(env, ReceiptKeeper(policy, tmp_path, receipted(PLAN)), PLAN[:1])
    (receipt,) = collect_receipts(tmp_path)
    np.testing.assert_array_equal(np.float32(receipt["actions"][:2]), executed[:2])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_receipts_survive_a_kill_and_a_resume(run, workers):
    whole = run("scripted", "run", "--workers", workers)
    assert len(whole) == 3
    path = Path("run/episodes.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    # What a kill leaves after episodes 0 and 1: a record without receipts, those of the two as files, two lines.
    path.write_bytes(b"".join(lines[:2]))
    record = json.loads(Path("run/run.json").read_text()) | {"receipts": [], "summary": None}
    Path("run/run.json").write_text(json.dumps(record))
    for receipt in whole[:2]:
        Path(f"run/.receipt_{receipt['episode_index']:06d}.json").write_text(json.dumps(receipt))
    assert run("scripted", "run", "--workers", workers, "--resume") == whole
    assert sorted(path.name for path in Path("run").iterdir()) == ["episodes.jsonl", "run.json"]
    assert run("scripted", "run", "--workers", workers, "--resume") == whole
    path.write_bytes(b"".join(lines[3:]))
    assert run("scripted", "run", "--resume") == whole
