import hashlib
import logging
from dataclasses import replace

import numpy as np
import pytest

from eval.loop import rollout
from eval.observers.base import Observer
from eval.plan import EpisodeSpec, plan_episodes
from simscaleai.errors import SimScaleError


class Diary(Observer):
    """Writes down what it is told."""

    def __init__(self):
        self.lines = []
        self.steps = []

    def on_run_start(self, env):
        self.lines.append(("run", env.num_envs))

    def on_episode_start(self, slot, spec):
        self.lines.append(("start", slot, spec.episode_index))

    def on_step(self, step):
        self.steps.append(step)

    def on_episode_end(self, slot, result):
        self.lines.append(("end", slot, result.episode_index))

    def on_episode_abandoned(self, slot, spec):
        self.lines.append(("abandoned", slot, spec.episode_index))

    def on_run_end(self, results):
        self.lines.append(("done", len(results)))


@pytest.fixture
def run(make_env, make_policy):
    """Runs a plan in so many slots; returns results, environment, policy."""

    def run_plan(plan, num_envs, *, observers=(), disturb=lambda env, policy: None, **options):
        env = make_env(num_envs, **options)
        policy = make_policy(env)
        disturb(env, policy)
        return rollout(env, policy, plan, observers), env, policy

    return run_plan


@pytest.mark.parametrize("num_envs", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("episodes", [1, 2, 7, 20])
def test_every_planned_episode_once_and_the_same_for_any_number_of_slots(run, num_envs, episodes):
    plan = plan_episodes(episodes)
    alone, env_alone, _ = run(plan, 1)
    together, env, _ = run(plan, num_envs)
    assert [(result.episode_index, result.seed) for result in together] == [(i, i) for i in range(episodes)]
    assert together == alone
    assert env.simulated_steps == env_alone.simulated_steps == sum(result.steps for result in together)


def test_episodes_differ_and_succeed(run):
    results, _, _ = run(plan_episodes(20), 4)
    assert {result.status for result in results} == {"success"}
    assert all(result.failure is None and result.stage == "at_goal" and result.return_ == 1.0 for result in results)
    assert len({result.digest for result in results}) == 20


def test_digest_is_of_actions_and_state_after_every_step(run):
    diary = Diary()
    states = []
    diary.on_step = lambda step: states.append((step.executed_actions[0], env.qpos[0].copy(), env.qvel[0].copy()))
    env = None

    def keep(given, policy):
        nonlocal env
        env = given

    (result,), _, _ = run(plan_episodes(1), 1, observers=[diary], disturb=keep)
    digest = hashlib.sha256()
    for action, qpos, qvel in states:
        digest.update(action.astype(np.float32).tobytes() + qpos.tobytes() + qvel.tobytes())
    assert len(states) == result.steps
    assert result.digest == digest.hexdigest()


def test_target_and_instruction_of_the_plan_reach_environment_and_record(run):
    plan = [EpisodeSpec(0, 5, target="blue", instruction="take the blue one"), EpisodeSpec(1, 5)]
    (given, drawn), _, _ = run(plan, 2)
    assert (given.target, given.instruction) == ("blue", "take the blue one")
    assert (drawn.target, drawn.instruction) == (None, "move 2")
    assert given.digest == drawn.digest


def test_observers_hear_everything_in_order(run):
    diary = Diary()
    run(plan_episodes(3), 2, observers=[diary])
    assert diary.lines[:3] == [("run", 2), ("start", 0, 0), ("start", 1, 1)]
    assert diary.lines[-1] == ("done", 3)
    starts = [line[1:] for line in diary.lines if line[0] == "start"]
    ends = [line[1:] for line in diary.lines if line[0] == "end"]
    assert sorted(starts) == sorted(ends)


def test_images_are_drawn_only_where_the_policy_looks(run):
    results, env, _ = run(plan_episodes(6), 3, cameras=("front",))
    blind, _, _ = run(plan_episodes(6), 3)
    looks = sum(int(mask.sum()) for mask in env.drawn)
    assert looks == sum((result.steps + 1) // 2 for result in results)
    assert [result.digest for result in results] == [result.digest for result in blind]


def test_an_observer_that_needs_images_gets_them_at_every_step(run):
    diary = Diary()
    diary.needs_images = True
    results, env, policy = run(plan_episodes(6), 3, cameras=("front",), observers=[diary])
    assert len(policy.asked) == len(diary.steps)
    assert sum(int(mask.sum()) for mask in env.drawn) == sum(result.steps for result in results)
    assert all((step.observation["image"][step.env_ids] > 0).all() for step in diary.steps)


class Looks(Observer):
    """Writes down, for every step of every slot, which one of its episode it is and whether the policy looked."""

    def __init__(self):
        self.steps, self.seen = {}, []

    def on_episode_start(self, slot, spec):
        self.steps[slot] = 0

    def on_step(self, step):
        for slot in step.env_ids.tolist():
            self.seen.append((self.steps[slot], bool(step.looking[slot])))
            self.steps[slot] += 1


@pytest.mark.parametrize("cameras", [(), ("front",)])
def test_observers_hear_where_the_policy_looked(run, cameras):
    looks = Looks()
    results, _, _ = run(plan_episodes(6), 3, cameras=cameras, observers=[looks])
    assert len(looks.seen) == sum(result.steps for result in results)
    assert all(looked == (step % 2 == 0) for step, looked in looks.seen)


def test_policy_gets_no_observation_beyond_its_contract(make_env, make_policy):
    env = make_env(2)
    policy = make_policy(env)
    policy.contract = replace(policy.contract, environment_state=None)
    rollout(env, policy, plan_episodes(2))  # the policy checks the keys it is given


@pytest.mark.parametrize("num_envs", [1, 3, 16])
@pytest.mark.parametrize("step", [0, 2])
def test_a_policy_exception_ends_the_guilty_episodes_only(run, num_envs, step, caplog):
    plan = plan_episodes(10)
    healthy, _, _ = run(plan, num_envs)
    diary = Diary()

    def break_two(env, policy):
        policy.raises = {3: step, 4: step}

    results, _, _ = run(plan, num_envs, disturb=break_two, observers=[diary])
    guilty = [result for result in results if result.status == "failure"]
    assert [result.seed for result in guilty] == [3, 4]
    assert {(result.failure, result.steps) for result in guilty} == {("policy_exception", step)}
    assert [r for r in results if r.seed not in (3, 4)] == [r for r in healthy if r.seed not in (3, 4)]
    assert "the policy broke" in caplog.text
    # Whatever was begun is either ended or abandoned, and each planned episode is ended once.
    assert sorted(line[2] for line in diary.lines if line[0] == "end") == list(range(10))
    begun = sum(line[0] == "start" for line in diary.lines)
    assert begun == 10 + sum(line[0] == "abandoned" for line in diary.lines)


def test_results_with_faults_do_not_depend_on_the_number_of_slots(run):
    def break_some(env, policy):
        policy.raises, env.raises = {2: 1, 7: 4}, {5: 0}

    runs = [run(plan_episodes(10), num_envs, disturb=break_some)[0] for num_envs in (1, 3, 16)]
    assert runs[0] == runs[1] == runs[2]


def test_a_fault_that_does_not_come_again_is_no_result(run, caplog):
    caplog.set_level(logging.ERROR)

    def break_once(env, policy):
        env.raises = {1: 2}
        step = env.step

        def step_once(*args, **kwargs):
            try:
                return step(*args, **kwargs)
            except RuntimeError:
                env.raises = {}
                raise

        env.step = step_once

    disturbed, _, _ = run(plan_episodes(5), 3, disturb=break_once)
    assert disturbed == run(plan_episodes(5), 3)[0]
    assert caplog.text == ""


def test_a_simulation_that_raises_again_is_an_error_of_that_episode(run):
    def break_one(env, policy):
        env.raises = {1: 2}

    results, _, _ = run(plan_episodes(5), 3, disturb=break_one)
    assert [result.status for result in results] == ["success", "error", "success", "success", "success"]
    assert (results[1].failure, results[1].steps) == ("environment_exception", 2)


def test_a_non_finite_action_fails_that_episode_only(run):
    plan = plan_episodes(5)
    healthy, _, _ = run(plan, 5)

    def poison(env, policy):
        act = policy.act

        def poisoned(observation, env_ids):
            actions = act(observation, env_ids)
            actions[env_ids == 2] = np.nan
            return actions

        policy.act = poisoned

    results, _, _ = run(plan, 5, disturb=poison)
    assert (results[2].status, results[2].failure, results[2].steps) == ("failure", "invalid_action", 1)
    assert [r for r in results if r.seed != 2] == [r for r in healthy if r.seed != 2]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda actions: actions[0],
        lambda actions: actions[:, :3],
        lambda actions: actions.astype(np.float64),
        lambda actions: actions.tolist(),
    ],
)
def test_actions_of_another_shape_or_type_end_the_run_with_both_named(run, wrong):
    def spoil(env, policy):
        act = policy.act
        policy.act = lambda observation, env_ids: wrong(act(observation, env_ids))

    with pytest.raises(SimScaleError, match=r"expected actions of shape \(2, 4\) float32"):
        run(plan_episodes(2), 2, disturb=spoil)


def test_a_users_mistake_ends_the_run(run):
    def refuse(env, policy):
        def act(observation, env_ids):
            raise SimScaleError("the image is constant")

        policy.act = act

    diary = Diary()
    with pytest.raises(SimScaleError, match="the image is constant"):
        run(plan_episodes(3), 2, disturb=refuse, observers=[diary])
    assert diary.lines[-2:] == [("abandoned", 0, 0), ("abandoned", 1, 1)]


def test_success_at_the_end_needs_a_run_to_the_limit(run):
    (ended,), _, _ = run(plan_episodes(1), 1)
    assert (ended.success_once, ended.success_held, ended.success_at_end) == (True, None, None)
    (ran_on,), _, _ = run(plan_episodes(1), 1, terminate_on_success=False)
    assert (ran_on.success_once, ran_on.success_held, ran_on.success_at_end) == (True, True, True)
    assert ran_on.steps == 30
    assert ran_on.return_ > 10


@pytest.mark.parametrize(
    ("leave_after", "stay_away", "held", "at_end"),
    [(9, True, False, False), (10, True, True, False), (3, False, True, True)],
)
def test_held_is_ten_steps_in_a_row_and_a_lost_success_is_named(run, leave_after, stay_away, held, at_end):
    def script(env, policy):
        """Stay at the goal for `leave_after` steps, leave, and perhaps come back for good."""

        def act(observation, env_ids):
            step = policy.steps[0] = policy.steps[0] + 1
            actions = np.zeros((1, 4), dtype=np.float32)
            if step == 1:
                env.qpos[:] = 0
            elif step == leave_after + 1:
                env.qpos[:] = 5
            elif step == leave_after + 2 and not stay_away:
                env.qpos[:] = 0
            return actions

        policy.act = act

    (result,), _, _ = run(plan_episodes(1), 1, terminate_on_success=False, disturb=script)
    assert (result.success_once, result.success_held, result.success_at_end) == (True, held, at_end)
    assert result.failure == (None if at_end else "placed_then_knocked")
    assert result.status == ("success" if at_end else "failure")
