"""A party that does not answer is named while the run waits for it."""

import time
from math import inf
from pathlib import Path

import pytest

from eval.episodes.pulse import ENVIRONMENT, POLICY, Pulse
from eval.execution.watchdog import WARN_SECONDS, Watchdog


@pytest.mark.parametrize(("party", "name"), [(POLICY, "policy"), (ENVIRONMENT, "environment")])
def test_silence_is_told_and_told_again_much_later(capsys, party, name):
    pulse = Pulse()
    with Watchdog(pulse, Path("r"), 100, warn_after=0.1), pulse.waiting_for(party, [3]):
        time.sleep(2.3)
    text = "warning: the {} has not answered for {} s; slots 3 wait; the run ends after 100 s (--timeout)"
    assert capsys.readouterr().err.splitlines() == [text.format(name, seconds) for seconds in ("0.1", "0.4", "1.6")]


def test_a_slow_policy_causes_few_warnings(capsys):
    pulse = Pulse()
    with Watchdog(pulse, Path("r"), inf, warn_after=0.1):
        for _ in range(4):
            with pulse.waiting_for(POLICY, [0]):
                time.sleep(0.35)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "warning: the policy has not answered for 0.1 s; slots 0 wait"


def test_the_first_warning_comes_within_a_minute():
    assert WARN_SECONDS < 60
