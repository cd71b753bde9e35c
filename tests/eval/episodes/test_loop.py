import hashlib
import logging

import numpy as np
import point_world
import pytest
from point_world import SPEC, Homing, PointEnv

from envs.slots import SlotFault, check_slots
from eval.episodes.loop import rollout
from eval.episodes.observer import Observer
from eval.episodes.plan import EpisodeSpec, plan_episodes
from eval.episodes.probe import Probe
from policies.base import check_policy
from simscaleai.contract import Needs
from simscaleai.errors import PolicyUnavailable, SimScaleError, UnknownNameError


class Diary(Observer):
    """Writes down what it is told."""

    def __init__(self, needs=None):
        self.needs = needs or Needs()
        self.lines = []
        self.steps = []

    def on_run_start(self, env):
        self.lines.append(("run", env.num_slots))

    def on_episode_start(self, slot, spec, begun):
        self.lines.append(("start", slot, spec.episode_index))

    def on_look(self, slots, observation):
        self.lines.append(("look", slots.tolist()))

    def on_step(self, step):
        self.steps.append(step)

    def on_episode_end(self, slot, result):
        self.lines.append(("end", slot, result.episode_index))

    def on_episode_abandoned(self, slot, spec):
        self.lines.append(("abandoned", slot, spec.episode_index))

    def on_run_end(self, results):
        self.lines.append(("done", len(results)))


def test_the_point_world_keeps_the_promises_that_the_loop_relies_on():
    check_slots(PointEnv(3, SPEC.needs("position", "goal", cameras={"front": (4, 6)})))
    check_policy(Homing(cameras=True), SPEC)


@pytest.mark.parametrize("num_slots", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("episodes", [1, 2, 7, 20])
def test_every_planned_episode_once_and_the_same_for_any_number_of_slots(run_point, num_slots, episodes):
    plan = plan_episodes(episodes)
    alone, env_alone, _ = run_point(plan, 1)
    together, env, _ = run_point(plan, num_slots)
    assert [(result.episode_index, result.seed) for result in together] == [(i, i) for i in range(episodes)]
    assert together == alone
    assert env.simulated_steps == env_alone.simulated_steps == sum(result.steps for result in together)


def test_episodes_differ_and_succeed(run_point):
    results, _, _ = run_point(plan_episodes(20), 4)
    assert {result.status for result in results} == {"success"}
    assert all(result.failure is None and result.stage == "" and result.return_ == 1.0 for result in results)
    assert len({result.digest for result in results}) == 20


def test_digest_is_of_actions_and_state_after_every_step(run_point):
    diary, states, env = Diary(), [], None
    diary.on_step = lambda step: states.append(step.executed[0].tobytes() + env.state(np.array([0]))[0])

    def keep(given, policy):
        nonlocal env
        env = given

    (result,), _, _ = run_point(plan_episodes(1), 1, observers=[diary], disturb=keep)
    assert len(states) == result.steps
    assert result.digest == hashlib.sha256(b"".join(states)).hexdigest()


def test_options_of_the_plan_reach_environment_and_result(run_point):
    options = {"target": "blue", "instruction": "take the blue one"}
    plan = [EpisodeSpec(0, 5, options, task="t", arm="a", perturbation={"wind": 0.01}), EpisodeSpec(1, 5)]
    (given, drawn), _, policy = run_point(plan, 2)
    assert (given.target, given.instruction) == ("blue", "take the blue one")
    assert (drawn.target, drawn.instruction) == (None, "move 2")
    assert given.digest != drawn.digest
    assert policy.instructions == {0: "take the blue one", 1: "move 2"}
    assert (given.task, given.arm, given.perturbation) == ("t", "a", {"wind": 0.01})
    assert given.to_json().keys() - drawn.to_json().keys() == {"task", "arm", "perturbation"}


def test_seeds_may_repeat(run_point):
    first, second = run_point([EpisodeSpec(0, 5), EpisodeSpec(1, 5)], 2)[0]
    assert (first.episode_index, second.episode_index) == (0, 1)
    assert first.digest == second.digest


def test_observers_hear_everything_in_order(run_point):
    diary = Diary()
    run_point(plan_episodes(3), 2, observers=[diary])
    assert diary.lines[:4] == [("run", 2), ("start", 0, 0), ("start", 1, 1), ("look", [0, 1])]
    assert diary.lines[-1] == ("done", 3)
    starts = [line[1:] for line in diary.lines if line[0] == "start"]
    ends = [line[1:] for line in diary.lines if line[0] == "end"]
    assert sorted(starts) == sorted(ends)


def test_images_are_drawn_only_where_the_policy_looks(run_point):
    results, env, _ = run_point(plan_episodes(6), 3, cameras=True)
    blind, _, _ = run_point(plan_episodes(6), 3)
    assert sum(map(len, env.drawn)) == sum((result.steps + 1) // 2 for result in results)
    assert [result.digest for result in results] == [result.digest for result in blind]


def test_an_observer_gets_what_it_needs_at_every_step(run_point):
    needs = SPEC.needs("goal", cameras={"front": (4, 6)})
    diary = Diary(needs)
    results, env, _ = run_point(plan_episodes(6), 3, cameras=True, observers=[diary])
    assert sum(map(len, env.drawn)) == sum(result.steps for result in results)
    for step in diary.steps:
        assert tuple(step.observation) == ("goal", "front")
        assert (step.observation["front"][..., 2] > 0).all()
        assert len(step.observation["goal"]) == len(step.slots)


def test_observers_hear_the_chunk_where_the_policy_was_asked(run_point):
    diary = Diary()
    (result,), _, _ = run_point(plan_episodes(1), 1, observers=[diary])
    assert len(diary.steps) == result.steps > 3
    for number, step in enumerate(diary.steps):
        assert list(step.chunks) == ([0] if number % 2 == 0 else [])
        for chunk in step.chunks.values():
            np.testing.assert_array_equal(chunk[0], step.intended[0])


def test_the_policy_gets_the_observations_that_it_needs_and_no_other(run_point):
    """An observer asks for the privileged vector and for images; the policy must not be given either."""
    seen = set()

    def note(env, policy):
        predict = policy.predict
        policy.predict = lambda observation, slots: seen.update(observation) or predict(observation, slots)

    diary = Diary(SPEC.needs("position", "goal", cameras={"front": (4, 6)}))
    results, _, _ = run_point(plan_episodes(2), 2, observers=[diary], disturb=note)
    assert seen == {"position"}
    assert {result.status for result in results} == {"success"}


def test_a_policy_may_change_the_arrays_that_it_is_given(run_point):
    def spoil(env, policy):
        predict = policy.predict

        def spoiling(observation, slots):
            chunks = predict(observation, slots)
            observation["position"][:] = 99
            return chunks

        policy.predict = spoiling

    diary = Diary(SPEC.needs("position"))
    results, _, _ = run_point(plan_episodes(3), 2, observers=[diary], disturb=spoil)
    assert results == run_point(plan_episodes(3), 2)[0]
    assert max(np.abs(step.observation["position"]).max() for step in diary.steps) < 2


def test_a_policy_can_ask_for_a_history(run_point):
    """Windows hold consecutive observations, the newest last, the first one repeated at the beginning."""
    windows = {}

    def widen(env, policy):
        policy.needs = SPEC.needs("position")
        policy.needs = type(policy.needs)(**{**vars(policy.needs), "history": 3})
        predict = policy.predict

        def newest(observation, slots):
            for row, slot in enumerate(slots.tolist()):
                windows.setdefault(policy.seeds[slot], []).append(observation["position"][row])
            return predict({"position": observation["position"][:, -1]}, slots)

        policy.predict = newest

    diary = Diary(SPEC.needs("position"))
    results, _, _ = run_point(plan_episodes(4), 1, observers=[diary], disturb=widen)
    assert results == run_point(plan_episodes(4), 2)[0]
    positions = [step.observation["position"][0] for step in diary.steps[: results[0].steps]]
    padded = [positions[0], positions[0], *positions]
    for look, window in enumerate(windows[0]):
        np.testing.assert_array_equal(window, padded[2 * look : 2 * look + 3])


# Faults


@pytest.mark.parametrize("num_slots", [1, 3, 16])
@pytest.mark.parametrize("look", [0, 2])
def test_a_policy_exception_ends_the_guilty_episodes_only(run_point, num_slots, look, caplog):
    plan = plan_episodes(10)
    healthy, _, _ = run_point(plan, num_slots)
    diary = Diary()

    def break_two(env, policy):
        policy.raises = {3: look, 4: look}

    results, _, _ = run_point(plan, num_slots, disturb=break_two, observers=[diary])
    guilty = [result for result in results if result.status == "failure"]
    assert [result.seed for result in guilty] == [3, 4]
    assert {(result.failure, result.steps) for result in guilty} == {("policy_exception", 2 * look)}
    assert [r for r in results if r.seed not in (3, 4)] == [r for r in healthy if r.seed not in (3, 4)]
    assert "the policy broke" in caplog.text
    # Whatever was begun is either ended or abandoned, and each planned episode is ended once.
    assert sorted(line[2] for line in diary.lines if line[0] == "end") == list(range(10))
    begun = sum(line[0] == "start" for line in diary.lines)
    assert begun == 10 + sum(line[0] == "abandoned" for line in diary.lines)


@pytest.mark.parametrize("exception", [SystemExit(0), SimScaleError("mine"), GeneratorExit(), MemoryError()])
def test_whatever_a_policy_raises_is_its_failure(run_point, exception):
    def break_one(env, policy):
        policy.raises, policy.exception = {1: 1}, exception

    results, _, _ = run_point(plan_episodes(3), 2, disturb=break_one)
    assert [result.failure for result in results] == [None, "policy_exception", None]


@pytest.mark.parametrize("party", ["policy", "environment"])
def test_an_exception_in_reset_is_booked_to_its_owner(run_point, party):
    def break_reset(env, policy):
        (policy if party == "policy" else env).raises = {1: "reset"}

    results, _, _ = run_point(plan_episodes(4), 2, disturb=break_reset)
    expected = ("failure", "policy_exception") if party == "policy" else ("error", "environment_exception")
    assert (results[1].status, results[1].failure, results[1].steps) == (*expected, 0)
    healthy, _, _ = run_point(plan_episodes(4), 2)
    assert [r for r in results if r.seed != 1] == [r for r in healthy if r.seed != 1]


def test_an_interrupt_ends_the_run(run_point):
    def interrupt(env, policy):
        policy.raises, policy.exception = {1: 1}, KeyboardInterrupt()

    with pytest.raises(KeyboardInterrupt):
        run_point(plan_episodes(3), 2, disturb=interrupt)


def test_results_with_faults_do_not_depend_on_the_number_of_slots(run_point):
    def break_some(env, policy):
        policy.raises, env.raises = {2: 1, 7: 2, 8: "reset"}, {5: 0, 9: "reset"}

    runs = [run_point(plan_episodes(12), num_slots, disturb=break_some)[0] for num_slots in (1, 3, 16)]
    assert runs[0] == runs[1] == runs[2]


def test_a_fault_that_does_not_repeat_is_no_result(run_point, caplog):
    caplog.set_level(logging.ERROR)

    def break_once(env, policy):
        env.raises = {1: 2}
        step = env.step

        def step_once(slots, actions):
            try:
                return step(slots, actions)
            except RuntimeError:
                env.raises = {}
                raise

        env.step = step_once

    disturbed, _, _ = run_point(plan_episodes(5), 3, disturb=break_once)
    assert disturbed == run_point(plan_episodes(5), 3)[0]
    assert caplog.text == ""


@pytest.mark.parametrize("exception", [RuntimeError("it broke"), SystemExit(3), SlotFault([0], "it is gone")])
def test_a_simulation_that_raises_again_is_an_error_of_that_episode(run_point, exception):
    def break_one(env, policy):
        env.raises, env.exception = {1: 2}, exception

    results, _, _ = run_point(plan_episodes(5), 3, disturb=break_one)
    assert [result.status for result in results] == ["success", "error", "success", "success", "success"]
    assert (results[1].failure, results[1].steps) == ("environment_exception", 2)


def test_a_reward_that_is_not_finite_is_an_error_of_that_episode(run_point):
    def spoil(env, policy):
        step = env.step

        def spoiled(slots, actions):
            transition = step(slots, actions)
            transition.reward[env.seeds[slots] == 1] = np.nan
            return transition

        env.step = spoiled

    results, _, _ = run_point(plan_episodes(3), 3, disturb=spoil)
    assert [(result.status, result.failure) for result in results] == [
        ("success", None),
        ("error", "environment_exception"),
        ("success", None),
    ]


def test_only_the_slots_that_a_fault_names_run_alone(run_point):
    diary = Diary()

    def break_one(env, policy):
        env.raises, env.exception = {1: 0}, SlotFault([1], "it is gone")

    results, _, _ = run_point(plan_episodes(3), 3, disturb=break_one, observers=[diary])
    assert [result.status for result in results] == ["success", "error", "success"]
    starts = [line[1:] for line in diary.lines if line[0] == "start"]
    assert starts == [(0, 0), (1, 1), (2, 2), (0, 1), (0, 0), (1, 2)]


def test_a_policy_that_is_unavailable_is_an_error_not_its_failure(run_point):
    def lose_one(env, policy):
        policy.raises, policy.exception = {1: 0}, PolicyUnavailable("the server is gone")

    results, _, _ = run_point(plan_episodes(3), 2, disturb=lose_one)
    assert (results[1].status, results[1].failure) == ("error", "policy_unavailable")


def test_a_non_finite_action_fails_that_episode_only(run_point):
    plan = plan_episodes(5)
    healthy, _, _ = run_point(plan, 5)

    def poison(env, policy):
        predict = policy.predict

        def poisoned(observation, slots):
            chunks = predict(observation, slots)
            chunks[slots == 2] = np.nan
            return chunks

        policy.predict = poisoned

    results, _, _ = run_point(plan, 5, disturb=poison)
    assert (results[2].status, results[2].failure, results[2].steps) == ("failure", "invalid_action", 1)
    assert [r for r in results if r.seed != 2] == [r for r in healthy if r.seed != 2]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda chunks: chunks[0],
        lambda chunks: chunks[:, 0],
        lambda chunks: chunks[:, :, :1],
        lambda chunks: chunks[:, :0],
        lambda chunks: np.concatenate([chunks, chunks]),
        lambda chunks: chunks.astype(np.float64),
        lambda chunks: chunks.tolist(),
        lambda chunks: None,
    ],
)
def test_an_answer_of_another_kind_shape_or_dtype_is_the_policys_failure(run_point, caplog, wrong):
    def spoil(env, policy):
        predict = policy.predict
        policy.predict = lambda observation, slots: wrong(predict(observation, slots))

    results, _, _ = run_point(plan_episodes(2), 1, disturb=spoil)
    assert {(result.status, result.failure, result.steps) for result in results} == {("failure", "policy_exception", 0)}
    assert "expected chunks as float32 array of shape (1, H, 2), the policy gave" in caplog.text


def test_a_tensor_is_the_policys_failure(run_point):
    import torch

    def spoil(env, policy):
        predict = policy.predict
        policy.predict = lambda observation, slots: torch.from_numpy(predict(observation, slots))

    results, _, _ = run_point(plan_episodes(1), 1, disturb=spoil)
    assert results[0].failure == "policy_exception"


def test_a_mistake_that_the_environment_finds_ends_the_run(run_point):
    def refuse(env, policy):
        env.raises, env.exception = {0: 0}, SimScaleError("Unknown target 'pink'")

    diary = Diary()
    with pytest.raises(SimScaleError, match="Unknown target"):
        run_point(plan_episodes(3), 2, disturb=refuse, observers=[diary])
    assert diary.lines[-2:] == [("abandoned", 0, 0), ("abandoned", 1, 1)]


def test_an_error_of_an_observer_ends_the_run_and_is_booked_to_nobody(run_point):
    diary = Diary()

    def fail(step):
        raise OSError("disk full")

    diary.on_step = fail
    with pytest.raises(OSError, match="disk full"):
        run_point(plan_episodes(3), 2, observers=[diary])


def test_a_constant_image_ends_the_run_with_the_camera_named(run_point):
    def darken(env, policy):
        observe = env.observe
        env.observe = lambda slots, wanted: {k: v * (k != "front") for k, v in observe(slots, wanted).items()}

    with pytest.raises(SimScaleError, match="image of camera 'front' is constant"):
        run_point(plan_episodes(1), 1, cameras=True, disturb=darken)


def test_an_environment_without_instructions_is_refused_unless_the_plan_wants_it_so():
    policy = Homing(instruction=True)
    silent = PointEnv(1, policy.needs, spec=type(SPEC)(**{**vars(SPEC), "has_instructions": False}))
    with pytest.raises(SimScaleError, match="episode of seed 0 has none"):
        rollout(silent, policy, plan_episodes(1))
    (result,) = rollout(silent, policy, [EpisodeSpec(0, 0, {"instruction": ""})])
    assert result.status == "success"


# Success


def test_success_at_the_end_needs_a_run_to_the_limit(run_point):
    (ended,), _, _ = run_point(plan_episodes(1), 1)
    assert (ended.success_once, ended.success_held, ended.success_at_end) == (True, None, None)
    (ran_on,), _, _ = run_point(plan_episodes(1), 1, terminate_on_success=False)
    assert (ran_on.success_once, ran_on.success_held, ran_on.success_at_end) == (True, True, True)
    assert ran_on.steps == 30
    assert ran_on.return_ > 10


@pytest.mark.parametrize(
    ("leave_after", "stay_away", "held", "at_end"),
    [(9, True, False, False), (10, True, True, False), (3, False, True, True)],
)
def test_held_is_ten_steps_in_a_row_and_a_lost_success_is_named(run_point, leave_after, stay_away, held, at_end):
    def script(env, policy):
        """Stay at the goal for `leave_after` steps, leave, and perhaps come back for good."""

        def predict(observation, slots):
            step = policy.looks[0] = policy.looks[0] + 1
            if step == 1:
                env.positions[:] = 0
            elif step == leave_after + 1:
                env.positions[:] = 5
            elif step == leave_after + 2 and not stay_away:
                env.positions[:] = 0
            return np.zeros((1, 1, 2), dtype=np.float32)

        policy.predict = predict

    (result,), _, _ = run_point(plan_episodes(1), 1, terminate_on_success=False, disturb=script)
    assert (result.success_once, result.success_held, result.success_at_end) == (True, held, at_end)
    assert result.failure == (None if at_end else "placed_then_knocked")
    assert result.status == ("success" if at_end else "failure")


# Probes


class Mirror(Probe):
    """Mirrors what the policy sees and what it does."""

    def __init__(self):
        self.seeds = []

    def begin(self, slots, episodes):
        self.seeds += [episode.seed for episode in episodes]

    def observe(self, observation, slots):
        return {key: -rows for key, rows in observation.items()}

    def act(self, actions, slots):
        return -actions


def test_probes_change_what_passes_between_environment_and_policy(run_point):
    diary, mirror = Diary(SPEC.needs("position")), Mirror()
    results, _, _ = run_point(plan_episodes(4), 2, probes=[mirror], observers=[diary])
    plain, _, _ = run_point(plan_episodes(4), 2)
    assert [result.digest for result in results] == [result.digest for result in plain]
    assert mirror.seeds == [0, 1, 2, 3]
    assert all((step.executed == np.clip(-step.intended, -1, 1)).all() for step in diary.steps)


def test_the_module_of_the_point_world_needs_no_simulator():
    import subprocess
    import sys
    from pathlib import Path

    code = "import sys, point_world; print(sorted({'mujoco', 'torch'} & set(sys.modules)))"
    folder = Path(point_world.__file__).parent
    environment = {"PYTHONPATH": f"{folder}:{folder.parents[2]}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class Closing(Observer, Probe):
    """Cannot be closed."""

    closed = 0

    def close(self):
        self.closed += 1
        raise OSError("the disk is full")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SimScaleError])
def test_an_error_while_a_run_is_closed_does_not_hide_the_first_one(run_point, interrupt, caplog):
    class Ends(Closing):
        def on_step(self, step):
            raise interrupt("the first")

        def on_episode_abandoned(self, slot, spec):
            raise OSError("cannot remove it")

    observers, probe = [Ends(), Closing()], Closing()
    with pytest.raises(interrupt, match="the first"):
        run_point(plan_episodes(2), 2, observers=observers, probes=[probe])
    assert [each.closed for each in (*observers, probe)] == [1, 1, 1]
    assert "the disk is full" in caplog.text


def test_results_stay_if_something_cannot_be_closed(run_point):
    plain, _, _ = run_point(plan_episodes(2), 2)
    assert run_point(plan_episodes(2), 2, observers=[Closing()], probes=[Closing()])[0] == plain


class Shouting(Probe):
    """Changes the words of the episodes with an odd seed."""

    def instruct(self, instruction, episode):
        return instruction.upper() if episode.seed % 2 else instruction


def test_a_probe_changes_what_the_policy_is_told_and_the_line_says_so(run_point):
    results, _, policy = run_point(plan_episodes(2), 2, probes=[Shouting()])
    assert [result.instruction for result in results] == ["move 0", "MOVE 1"]
    assert policy.instructions == {0: "move 0", 1: "MOVE 1"}


def test_an_axis_that_nobody_carries_out_is_refused(run_point):
    with pytest.raises(UnknownNameError, match=r"Unknown axis 'wimd'. Did you mean 'wind'\?"):
        run_point([EpisodeSpec(0, 5, perturbation={"wimd": 0.01})], 1)
