"""The log: every finished episode is on disk at once, and the results that count are those before the first gap."""

import pytest

from eval.episodes.observer import Observer
from eval.episodes.plan import plan_episodes
from eval.observers.log import EpisodeLog
from eval.runs.log_file import EPISODES_FILE, read_results


class Interrupt(Observer):
    """Interrupts the run when so many episodes have ended."""

    def __init__(self, after):
        self.left = after

    def on_episode_end(self, slot, result):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_log_holds_all_episodes_in_order_when_complete(run_point, tmp_path):
    log = EpisodeLog(tmp_path)
    results, _, _ = run_point(plan_episodes(7), 3, observers=[log])
    lines = (tmp_path / EPISODES_FILE).read_text().splitlines()
    assert [f'"episode_index": {index},' in line for index, line in enumerate(lines)] == [True] * 7
    assert read_results(tmp_path / EPISODES_FILE) == results == log.results


def test_an_interrupted_run_keeps_all_and_counts_the_first_without_a_gap(run_point, tmp_path):
    plan = plan_episodes(7)
    everything, _, _ = run_point(plan, 3)
    log = EpisodeLog(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_point(plan, 7, observers=[log, Interrupt(after=4)])
    kept = read_results(tmp_path / EPISODES_FILE)
    assert len(kept) == 4
    indices = [result.episode_index for result in kept]
    before_the_gap = next(index for index in range(8) if index not in indices)
    assert before_the_gap < 4  # else the test shows nothing
    assert log.results == everything[:before_the_gap]


def test_a_resumed_log_drops_a_torn_line_and_ends_with_the_whole_run(run_point, tmp_path):
    plan = plan_episodes(5)
    whole, _, _ = run_point(plan, 2, observers=[EpisodeLog(tmp_path)])
    path = tmp_path / EPISODES_FILE
    complete = path.read_bytes()
    lines = complete.splitlines(keepends=True)
    path.write_bytes(lines[3] + lines[1] + lines[0][:20])
    earlier = [whole[1], whole[3]]
    log = EpisodeLog(tmp_path, earlier)
    assert path.read_bytes() == lines[1] + lines[3]
    run_point([plan[0], plan[2], plan[4]], 2, observers=[log])
    assert path.read_bytes() == complete
    assert log.results == whole
