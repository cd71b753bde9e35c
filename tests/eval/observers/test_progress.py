"""Progress: what it shows on a terminal and elsewhere, and that short episodes do not flatter the rate."""

import io
import re
from types import SimpleNamespace

import pytest

from eval.episodes.plan import plan_episodes
from eval.observers.progress import Progress


def show(run_point, episodes, *, stream=None, **options):
    """Runs so many episodes and returns what was shown."""
    stream = stream or io.StringIO()
    progress = Progress(stream=stream, seconds_between_lines=0, **options)
    run_point(plan_episodes(episodes), 3, observers=[progress])
    return stream.getvalue()


def test_progress_prints_plain_lines_where_there_is_no_terminal(run_point):
    lines = show(run_point, 4, total=4).splitlines()
    assert len(lines) == 4
    assert re.fullmatch(r"4/4 episodes, [\d.]+/s, 0 s left, success 4/4 100 % \[51, 100\] at 95%", lines[-1]), lines[-1]


def test_progress_of_a_resumed_run_counts_earlier_results(run_point):
    earlier, _, _ = run_point(plan_episodes(4), 3)
    (line,) = show(run_point, 1, total=6, earlier=earlier).splitlines()
    rate, left = re.fullmatch(r"5/6 episodes, ([\d.]+)/s, (\d+) s left, success 4/4 100 % .*", line).groups()
    assert float(left) == pytest.approx(1 / max(float(rate), 0.01), abs=0.51)


def test_progress_is_not_flattered_by_the_episodes_that_end_first():
    stream = io.StringIO()
    progress = Progress(4, stream=stream, seconds_between_lines=0)
    for index, status in ((1, "success"), (3, "success"), (0, "failure"), (2, "failure")):
        progress.on_episode_end(0, SimpleNamespace(episode_index=index, status=status, arm=None))
    shown = [line.partition("s left, ")[2].split(" %")[0] for line in stream.getvalue().splitlines()]
    assert shown == ["success not yet known", "success not yet known", "success 1/2 50", "success 2/4 50"]


def test_progress_of_a_battery_shows_the_success_rate_of_its_control():
    stream = io.StringIO()
    progress = Progress(3, stream=stream, seconds_between_lines=0, control_only=True)
    for index, arm in enumerate(("light=5", None, "light=5")):
        status = "failure" if arm else "success"
        progress.on_episode_end(0, SimpleNamespace(episode_index=index, status=status, arm=arm))
    assert ["control not yet known" in line for line in stream.getvalue().splitlines()] == [True, False, False]
    assert stream.getvalue().count("control 1/1 100 %") == 2


def test_progress_draws_a_bar_on_a_terminal(run_point):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    assert re.search(r"4/4 .*success 4/4 100 % \[51, 100\]", show(run_point, 4, total=4, stream=Terminal()))
