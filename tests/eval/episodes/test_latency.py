"""Latency on a virtual clock: the executed actions against timelines written by hand, and against a slow reference."""

import numpy as np
import point_world
import pytest

from eval.episodes.action_execution import LATENCY, ChunkQueue, LateExecutor, TemporalEnsemble, latency_steps
from eval.episodes.loop import rollout
from eval.episodes.observer import Observer
from eval.episodes.plan import EpisodeSpec, plan_episodes
from simscaleai.contract import ActionSpec

ACTION = ActionSpec(names=("look", "number"), low=(-99, -99), high=(99, 99), meaning="")
IDLE = (0, 0)


def chunk_at(step, horizon):
    """Return a recognisable chunk (horizon, 2): (step at which it was asked for, number in the chunk, from 1)."""
    return np.array([(step, number) for number in range(1, horizon + 1)], dtype=np.float32)


def run(executor, steps, horizon, slot=0):
    """Drive one slot; return the actions and the steps at which a chunk was asked for."""
    actions, asked, slots = [], [], np.array([slot])
    for step in range(steps):
        if executor.needs_look(slots)[0]:
            asked.append(step)
            executor.add(slots, chunk_at(step, horizon)[None])
        actions.append(tuple(executor.next_actions(slots)[0].astype(int).tolist()))
    return actions, asked


def late(inner, delay, action=ACTION, slots=(0,)):
    executor = LateExecutor(inner, len(slots), action)
    executor.begin(np.array(slots), [delay] * len(slots))
    return executor


def test_the_old_chunk_runs_on_and_the_new_one_continues_after_it():
    actions, asked = run(late(ChunkQueue(2, 1, 2), 1), 9, 4)
    assert asked == [0, 2, 4, 6, 8]
    assert actions == [(0, 1), (0, 2), (0, 3), (2, 2), (2, 3), (4, 2), (4, 3), (6, 2), (6, 3)]


def test_the_policy_is_asked_again_only_when_it_has_answered():
    actions, asked = run(late(ChunkQueue(1, 1, 2), 3), 9, 6)
    assert asked == [0, 1, 4, 7]
    assert actions == [(0, 1), (0, 2), (0, 3), (0, 4), (1, 4), (1, 5), (1, 6), (4, 4), (4, 5)]


def test_the_robot_is_idle_when_the_old_chunk_has_ended_and_no_action_of_the_new_one_is_lost():
    actions, asked = run(late(ChunkQueue(2, 1, 2), 2), 8, 3)
    assert asked == [0, 2, 5]
    assert actions == [(0, 1), (0, 2), (0, 3), IDLE, (2, 2), (2, 3), IDLE, (5, 2)]
    actions, asked = run(late(ChunkQueue(None, 1, 2), 2), 8, 2)
    assert asked == [0, 2, 6]
    assert actions == [(0, 1), (0, 2), IDLE, IDLE, (2, 1), (2, 2), IDLE, IDLE]


def test_a_policy_with_chunks_of_one_action_moves_in_one_of_so_many_steps():
    actions, _ = run(late(ChunkQueue(None, 1, 2), 2), 7, 1)
    assert actions == [(0, 1), IDLE, IDLE, (1, 1), IDLE, IDLE, (4, 1)]


@pytest.mark.parametrize(
    ("idle", "held", "sent"),
    [("zero", (), (0, 0)), ("zero", ("number",), (0, 1)), ("repeat", (), (5, 1)), ("repeat", ("number",), (5, 1))],
)
def test_idle_is_zero_or_the_last_action_as_the_environment_says(idle, held, sent):
    action = ActionSpec(names=("look", "number"), low=(-9, -9), high=(9, 9), meaning="", idle=idle, held=held)
    executor, slots = late(ChunkQueue(None, 1, 2), 1, action), np.array([0])
    executor.add(slots, chunk_at(5, 1)[None])
    executor.next_actions(slots)
    executor.add(slots, chunk_at(6, 1)[None])
    assert tuple(executor.next_actions(slots)[0]) == sent
    assert tuple(executor.next_actions(slots)[0]) == (6, 1)


def reference(steps, horizon, n_action_steps, delay):
    """Return what `run` must return for a queue, computed from the list of actions that each chunk still has."""
    actions, asked, rest, coming = [], [], [], None
    for step in range(steps):
        if coming and coming["at"] == step:
            rest, coming = coming["chunk"][coming["gone"] :], None
        if coming is None and horizon - len(rest) >= (n_action_steps if asked else 0):
            chunk = [(step, number) for number in range(1, horizon + 1)]
            if delay == 0 or not asked:
                rest = chunk
            else:
                coming = {"at": step + delay, "chunk": chunk, "gone": 0}
            asked.append(step)
        actions.append(rest.pop(0) if rest else IDLE)
        if coming and actions[-1] != IDLE:
            coming["gone"] += 1
    return actions, asked


@pytest.mark.parametrize("horizon", [1, 2, 4, 8])
def test_queues_equal_the_reference(horizon):
    for n_action_steps in range(1, horizon + 1):
        for delay in (0, 1, 2, 3, 5, 9):
            executor = late(ChunkQueue(n_action_steps, 1, 2), delay)
            assert run(executor, 60, horizon) == reference(60, horizon, n_action_steps, delay)


def test_a_synchronous_queue_equals_a_policy_whose_chunks_are_as_short_as_what_is_executed():
    for n_action_steps in range(1, 5):
        for delay in (0, 1, 2, 3, 5, 9):
            executor = late(ChunkQueue(n_action_steps, 1, 2, synchronous=True), delay)
            assert run(executor, 60, 4) == reference(60, n_action_steps, n_action_steps, delay)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ChunkQueue(2, 1, 2),
        lambda: ChunkQueue(2, 1, 2, synchronous=True),
        lambda: ChunkQueue(None, 1, 2),
        lambda: TemporalEnsemble(0.1),
    ],
)
def test_without_latency_every_executor_gives_its_plain_actions(make):
    plain = make()
    plain.begin(np.array([0]))
    assert run(late(make(), 0), 30, 4) == run(plain, 30, 4)


def test_an_ensemble_averages_the_chunks_that_have_arrived():
    executor, slots = late(TemporalEnsemble(0.0), 2), np.array([0])
    values = []
    for step in range(6):
        if executor.needs_look(slots)[0]:
            executor.add(slots, np.full((1, 4, 2), 10 * step, np.float32))
        values.append(float(executor.next_actions(slots)[0, 0]))
    # Asked at 0 (not late), 1 (arrives at 3, its first 2 actions are over), 3 (arrives at 5).
    assert values == [0, 0, 0, (0 + 10) / 2, 10, 30]


def test_slots_with_different_latencies_do_not_disturb_each_other():
    delays, horizon = [0, 1, 3, 0], 4
    executor = LateExecutor(ChunkQueue(2, 4, 2), 4, ACTION)
    slots, sent = np.arange(4), []
    executor.begin(slots, delays)
    for step in range(20):
        asked = slots[executor.needs_look(slots)]
        executor.add(asked, np.stack([chunk_at(step, horizon)] * len(asked)) if len(asked) else np.zeros((0, 4, 2)))
        sent.append(executor.next_actions(slots).astype(int).tolist())
    for slot, delay in enumerate(delays):
        assert [tuple(row[slot]) for row in sent] == reference(20, horizon, 2, delay)[0]


@pytest.mark.parametrize(
    ("milliseconds", "hz", "steps"),
    [(0, 20, 0), (1, 20, 1), (50, 20, 1), (51, 20, 2), (100, 20, 2), (350, 20, 7), (50, 10, 1), (1000 * 2 / 30, 30, 2)],
)
def test_latency_is_rounded_up_to_control_steps(milliseconds, hz, steps):
    assert latency_steps({LATENCY.name: milliseconds}, hz) == steps


class Actions(Observer):
    """Keeps the actions and the looks of each episode."""

    def __init__(self):
        self.of, self.indices = {}, {}

    def on_episode_start(self, slot, spec, begun):
        self.indices[slot] = spec.episode_index
        self.of[spec.episode_index] = []

    def on_step(self, step):
        for row, slot in enumerate(step.slots.tolist()):
            self.of[self.indices[slot]].append((step.intended[row].tolist(), slot in step.chunks))


@pytest.mark.parametrize("num_slots", [1, 3, 8])
def test_an_episode_with_latency_does_not_depend_on_the_shape_of_the_run(run_point, num_slots):
    plan = [
        EpisodeSpec(
            spec.episode_index, spec.seed, perturbation={"latency": 100.0 * (spec.seed % 3)} if spec.seed % 3 else None
        )
        for spec in plan_episodes(8)
    ]
    one, many = Actions(), Actions()
    alone = run_point(plan, 1, observers=[one])[0]
    together = run_point(plan, num_slots, observers=[many])[0]
    assert together == alone
    assert many.of == one.of
    plain = run_point(plan_episodes(8), 2)[0]
    for result, nominal in zip(alone, plain, strict=True):
        assert (result.digest == nominal.digest) == (result.seed % 3 == 0)


def test_the_loop_sends_zeros_while_the_policy_computes():
    """Homing answers with chunks of two actions, which are executed; with 200 ms at 10 Hz it waits two steps."""
    actions = Actions()
    env, policy = point_world.PointEnv(1), point_world.Homing()
    env.keys = policy.needs.vectors
    rollout(env, policy, [EpisodeSpec(0, 3, perturbation={"latency": 200})], [actions])
    sent = [(any(action), asked) for action, asked in actions.of[0]]
    period = [(True, False), (False, True), (False, False)]
    assert sent[:8] == [(True, True), *period, (True, False), *period]
