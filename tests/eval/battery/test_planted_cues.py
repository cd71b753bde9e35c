"""Policies that go by one planted cue, and the battery that names it; what justifies the ceiling of looks."""

from pathlib import Path

import pytest
from planted import SEEDS

from envs.registration import find_environment
from eval import robustness
from eval.battery.reading import read_battery
from eval.episodes.battery import Battery
from eval.episodes.loop import rollout
from eval.execution.planning import plan_battery
from policies.scripted.experts import EXPERTS

ENV = "pick-place"
LOOKS = ("object.colour", "camera.azimuth", "wrist.aim", "light.intensity", "table.colour", "background.colour")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "axes", "cue"),
    [
        ("Colour", LOOKS, "object.colour"),
        ("FrontCamera", LOOKS, "camera.azimuth"),
        ("Rehearsed", (*LOOKS, "robot.start"), "robot.start"),
    ],
)
def test_the_battery_names_the_cue(policy, axes, cue, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--model", f"planted:{policy}", "--env", ENV, "--episodes", str(len(SEEDS)), "--output", "battery"]
    assert robustness.main([*words, "--axes", *axes]) == 0
    findings = read_battery(Path("battery")).findings()
    assert findings.control.successes == len(SEEDS)
    assert findings.worst.axis.name == cue
    assert findings.worst.drop.value < -0.5
    assert all(axis.drop.value == 0 for axis in findings.axes if axis.axis.name != cue)


def test_looks_do_not_change_a_byte_of_the_experts_episodes():
    registration = find_environment(ENV)
    spec = registration.offer()
    looks = tuple(axis for axis in spec.axes if axis.changes == "looks")
    plan = plan_battery(Battery(axes=looks, levels=(5,)), range(3))
    expert = EXPERTS[spec.env_id](spec)
    results = rollout(registration.make(len(plan), expert.needs, True, None), expert, plan)
    control = {result.seed: result.digest for result in results if result.arm is None}
    assert len(looks) > 5
    assert all(result.digest == control[result.seed] for result in results)
