"""Stopping rules: a stopped run has the same episodes whatever ends first, and the promised error rates."""

import functools
import io
from dataclasses import replace
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.episodes.observer import Observer
from eval.episodes.plan import plan_episodes
from eval.episodes.results import EpisodeResult
from eval.observers.film.video import VideoRecorder
from eval.observers.log import EpisodeLog
from eval.observers.plan_order import InPlanOrder
from eval.observers.progress import Progress
from eval.observers.stopping import Stopping, StoppingRule, UntilDecided, UntilWidth
from eval.runs.log_file import EPISODES_FILE, read_results
from eval.runs.media_paths import video_paths
from eval.statistics.paired import log_e_value
from eval.statistics.sequential import confidence_sequence

RESULT = EpisodeResult(
    episode_index=0,
    seed=0,
    instruction="",
    target=None,
    status="failure",
    success_once=False,
    success_held=None,
    success_at_end=None,
    steps=1,
    return_=0.0,
    stage="",
    failure="dropped",
    digest="",
)


def results_of(outcomes):
    """Returns results from one character for each episode: + success, - failure, E error."""
    statuses = {"+": "success", "-": "failure", "E": "error"}
    return [
        replace(RESULT, episode_index=index, seed=index, status=statuses[outcome])
        for index, outcome in enumerate(outcomes)
    ]


class AfterSuccesses(StoppingRule):
    name, threshold = "after_successes", 0.5

    def __init__(self, wanted):
        self.wanted = wanted
        self.seen = []

    def add(self, result):
        self.seen.append(result)

    @property
    def holds(self):
        return sum(result.status == "success" for result in self.seen) >= self.wanted

    def text(self):
        return ""


OUTCOMES = st.text("+-E", min_size=1, max_size=40)


@given(OUTCOMES.flatmap(lambda text: st.permutations(results_of(text))))
def test_results_come_in_the_order_of_the_plan_whatever_ends_first(shuffled):
    in_order = InPlanOrder()
    handed_on = [due.episode_index for result in shuffled for due in in_order.add(result)]
    assert handed_on == list(range(len(shuffled))) == list(range(in_order.n))


@settings(deadline=None)
@given(OUTCOMES, st.data())
def test_any_order_of_completion_and_any_resume_ends_after_the_same_episode(outcomes, data):
    """The first episode at which the rule holds, found without the class; the rest, whatever ended, is dropped."""
    results = results_of(outcomes)
    against = {index: data.draw(st.booleans()) for index in range(len(results))}

    def first(make_rule):
        rule = make_rule()
        for n, result in enumerate(results, start=1):
            rule.add(result)
            if rule.holds:
                return n
        return None

    for make_rule in (lambda: AfterSuccesses(3), lambda: UntilWidth(0.6), lambda: UntilDecided(against, 0.3)):
        shuffled = data.draw(st.permutations(results))
        earlier = data.draw(st.integers(0, len(results)))
        stopping = Stopping(make_rule(), shuffled[:earlier])
        for result in shuffled[earlier:]:
            stopping.on_episode_end(0, result)
        decided = first(make_rule)
        assert stopping.has_seen_enough == (decided is not None)
        assert [result for result in results if stopping.keeps(result)] == results[:decided]


def test_a_gap_in_the_plan_holds_everything_up():
    zero, one, two = results_of("+++")
    stopping = Stopping(AfterSuccesses(2), [one, two])
    assert (stopping.has_seen_enough, stopping.n) == (False, 0)
    assert not any(map(stopping.keeps, (zero, one, two)))
    stopping.on_episode_end(0, zero)
    assert (stopping.has_seen_enough, stopping.n) == (True, 2)
    assert [stopping.keeps(result) for result in (zero, one, two)] == [True, True, False]


def n_of(rule, outcomes):
    stopping = Stopping(rule, results_of(outcomes))
    return stopping.n if stopping.has_seen_enough else None


def test_rules_hold_when_their_statistic_does_and_errors_are_no_success():
    widths = [confidence_sequence(0, n)[1] for n in range(1, 60)]
    assert n_of(UntilWidth(0.1), "E-" * 40) == 1 + next(i for i, width in enumerate(widths) if width <= 0.1)
    needed = next(m for m in range(30) if log_e_value(0, m) >= log(20))
    assert n_of(UntilDecided(dict.fromkeys(range(80), False)), "-+" * 40) == 2 * needed  # half of the pairs say nothing
    assert n_of(UntilDecided(dict.fromkeys(range(80), True)), "E+-+" * 20) == 2 * needed - 1
    assert n_of(UntilDecided({index: index % 2 == 0 for index in range(80)}), "+-" * 40) is None


@pytest.mark.parametrize("width", [0.5, 0.2, 0.05])
def test_the_most_episodes_that_a_width_takes_suffice_for_every_rate(width):
    most = UntilWidth(width).most_episodes
    for rate in (0.0, 0.1, 0.3, 0.45, 0.5, 0.55, 0.8):
        low, high, _ = confidence_sequence(round(rate * most), most)
        assert high - low <= width + 1e-12
    low, high, _ = confidence_sequence((most - 1) // 2, most - 1)
    assert high - low > width


def test_an_extreme_width_has_no_such_number():
    assert UntilWidth(0.001).most_episodes is None


@pytest.mark.parametrize("runs", [4_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_of_equal_policies_at_most_alpha_is_called_different_by_the_whole_procedure(runs):
    """Runs of up to 150 pairs through the rule itself, some with a policy that never moves alone."""
    limit = 150
    rng = np.random.default_rng(4)
    succeeded, failed = ([replace(r, status=s) for r in results_of("-" * limit)] for s in ("success", "failure"))
    decided = 0
    for rate in (0.5, 0.8):
        for _ in range(runs // 2):
            outcomes = rng.random((2, limit)) < rate
            rule = UntilDecided(dict(enumerate(outcomes[0].tolist())))
            for index in np.flatnonzero(outcomes[0] != outcomes[1]).tolist():  # the other pairs change nothing
                rule.add(succeeded[index] if outcomes[1, index] else failed[index])
                if rule.holds:
                    decided += 1
                    break
    assert 0.005 < decided / runs <= 0.05


@functools.cache
def stops(successes, n):
    """Returns whether a rule stops at so many successes of n episodes."""
    rule = UntilWidth(0.3)
    for result in results_of("+" * successes + "-" * (n - successes)):
        rule.add(result)
    return rule.holds


@pytest.mark.parametrize("runs", [500, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("rate", [0.5, 0.85, 0.97])
def test_the_interval_at_the_time_of_stopping_covers(rate, runs):
    rng = np.random.default_rng(11)
    interval = functools.cache(confidence_sequence)
    missed = 0
    for _ in range(runs):
        successes = n = 0
        while not stops(successes, n):
            successes, n = successes + (rng.random() < rate), n + 1
        low, high, _ = interval(successes, n)
        missed += not low <= rate <= high
    assert missed / runs <= 0.05


class Ends(Observer):
    """Writes down which episodes began and how each went on."""

    def __init__(self):
        self.began, self.ended, self.abandoned, self.steps = [], [], [], 0
        self.whole = None

    def on_episode_start(self, slot, spec, begun):
        self.began.append(spec.episode_index)

    def on_step(self, step):
        self.steps += len(step.slots)

    def on_episode_end(self, slot, result):
        self.ended.append(result.episode_index)

    def on_episode_abandoned(self, slot, spec):
        self.abandoned.append(spec.episode_index)

    def on_run_end(self, results):
        self.whole = [result.episode_index for result in results]


@pytest.fixture
def run(run_point):
    """Runs at most so many episodes of the point; few steps, so that successes are fast and failures slow."""

    def run_until(rule, num_slots, *observers, episodes=60, limit=4):
        stopping = Stopping(rule)
        plan = plan_episodes(episodes)
        results, _, _ = run_point(plan, num_slots, observers=[*observers, stopping], max_episode_steps=limit)
        return results, stopping

    return run_until


def test_the_record_is_the_same_for_any_number_of_slots_and_begins_the_whole_run(run, tmp_path):
    everything, _ = run(AfterSuccesses(1000), 5)
    assert 0.2 < np.mean([result.status == "success" for result in everything]) < 0.8
    assert np.mean([r.steps for r in everything if r.status == "success"]) < 4
    files = set()
    for num_slots in (1, 3, 16, 60):
        folder = tmp_path / str(num_slots)
        folder.mkdir()
        stopping = Stopping(AfterSuccesses(7))
        log = EpisodeLog(folder, keeps=stopping.keeps)
        run(AfterSuccesses(1000), num_slots, log, stopping)
        files.add((folder / EPISODES_FILE).read_bytes())
        kept = read_results(folder / EPISODES_FILE)
        assert log.results == kept
    assert len(files) == 1
    assert kept == everything[: len(kept)]
    assert sum(result.status == "success" for result in kept) == 7
    assert kept[-1].status == "success"


def test_what_runs_when_enough_is_seen_is_abandoned_at_once(run):
    ends = Ends()
    _, stopping = run(AfterSuccesses(3), 16, ends, limit=30)
    assert stopping.n == 3
    assert sorted(ends.began) == sorted(ends.ended + ends.abandoned)
    assert ends.abandoned
    assert len(ends.began) < 60
    assert ends.whole == sorted(ends.ended)
    longer = Ends()
    run(AfterSuccesses(1000), 16, longer, episodes=len(ends.began), limit=30)
    assert ends.steps < longer.steps


def test_a_run_that_has_seen_enough_begins_nothing(run):
    ends = Ends()
    everything, _ = run(AfterSuccesses(1000), 5)
    results, _ = run(AfterSuccesses(1000), 5, ends, Stopping(AfterSuccesses(3), everything[:20]))
    assert (results, ends.began, ends.whole) == ([], [], [])


def test_abandoned_episodes_leave_no_film(run, tmp_path):
    ends = Ends()
    run(AfterSuccesses(2), 8, VideoRecorder(video_paths(tmp_path, range(60)), size=(16, 16)), ends, limit=30)
    assert ends.abandoned
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"episode_{i:06d}.mp4" for i in sorted(ends.ended)]


def test_progress_of_such_a_run_shows_an_interval_that_holds_at_every_look(run):
    stream = io.StringIO()
    progress = Progress(4, sequential=True, stream=stream, seconds_between_lines=0)
    run(AfterSuccesses(1000), 3, progress, episodes=4, limit=30)
    last = stream.getvalue().splitlines()[-1]
    low = confidence_sequence(4, 4).low
    assert f"at most 0 s left, success 4/4 100 % [{100 * low:.0f}, 100] at 95%" in last
