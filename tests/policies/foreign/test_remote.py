"""Policies in a process under another interpreter: the same actions as in a plain loop, and whose a fault is."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from envs.registration import find_environment
from eval.episodes.loop import rollout
from eval.episodes.observer import Observer
from eval.episodes.plan import plan_episodes
from eval.execution.assembly import build_environment, closing
from policies.base import EnvSpec, Feature, Layout, PolicyUnavailable, check_policy
from policies.registry import make_policy
from simscaleai.contract import ActionSpec
from simscaleai.errors import SimScaleError
from tests.policies.foreign.stand_in import write_agent, write_library
from tests.waiting import is_running, kill_the_next_busy_host, wait_until

ACTION = ActionSpec(names=("x", "y"), low=(-1, -1), high=(1, 1), meaning="a displacement")
SPEC = EnvSpec(
    env_id="Stand-in-v0",
    digest="",
    vectors={
        "state": Layout((Feature("position", 3, "m", "world"),)),
        "environment_state": Layout((Feature("object", 3, "m", "world"),), privileged=True),
    },
    cameras={"front": None, "fixed": (20, 30)},
    action=ACTION,
    control_hz=10,
    max_episode_steps=10,
    success="never",
)
ONE = np.arange(1)


@pytest.fixture(autouse=True)
def library(tmp_path, monkeypatch):
    """The stand-in is importable in this interpreter, and so in a host that it starts."""
    write_library(tmp_path)
    monkeypatch.setenv("SIMSCALE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture
def make(tmp_path):
    made = []

    def make(options=None, spec=SPEC, **agent):
        path = write_agent(tmp_path / "agent.zip", **agent)
        made.append(make_policy(f"sb3:{path}", spec=spec, options=options))
        return made[-1]

    yield make
    for policy in made:
        policy.close()


def asked(policy, first, slots=ONE, seed=0):
    """Return the answer for a state that begins with the number `first`, at the start of an episode."""
    policy.reset(slots, [seed] * len(slots), [""] * len(slots))
    return policy.predict({"state": np.full((len(slots), 3), first, np.float32)}, slots)


def test_it_gives_the_actions_of_the_agent_and_keeps_the_promises_of_policies(make):
    policy = make()
    assert asked(policy, 0.5).tolist() == [[[0.25, 0.25]]]
    check_policy(policy, SPEC)
    assert policy.options == {"device": "cpu", "deterministic": True}


def test_noise_comes_from_the_seed_of_the_episode_alone(make):
    policy = make({"deterministic": "false"})
    check_policy(policy, SPEC)
    first, other = asked(policy, 0.5, seed=3), asked(policy, 0.5, seed=4)
    assert (first != other).all()
    assert np.array_equal(asked(policy, 0.5, np.array([2, 5]), seed=3)[1:], first)


def test_an_exception_is_a_failure_of_the_policy_and_the_host_lives_on(make):
    policy = make()
    with pytest.raises(RuntimeError, match="ArithmeticError: no number thirteen"):
        asked(policy, 13)
    assert asked(policy, 0.5).tolist() == [[[0.25, 0.25]]]


def test_an_action_of_another_size_is_a_failure_of_the_policy(make):
    with pytest.raises(RuntimeError, match=r"expected actions of shape \(1, 2\), got \(1, 5\)"):
        asked(make(), 16)


def test_a_policy_may_keep_an_observation(make):
    policy = make()
    asked(policy, 0.5)
    assert asked(policy, 17).tolist() == [[[0.5, 0.5]]]


def test_a_host_that_ends_makes_the_policy_unavailable_until_the_next_episode(make):
    policy = make({"deterministic": "false"})
    before = asked(policy, 0.5)
    with pytest.raises(PolicyUnavailable, match="exit code 3"):
        asked(policy, 14)
    with pytest.raises(PolicyUnavailable):
        policy.predict({"state": np.zeros((1, 3), np.float32)}, ONE)
    assert np.array_equal(asked(policy, 0.5), before)


def test_a_slot_without_an_episode_is_no_failure_of_the_policy(make):
    with pytest.raises(PolicyUnavailable):
        make().predict({"state": np.zeros((1, 3), np.float32)}, ONE)


def test_a_host_that_hangs_can_be_killed(make):
    policy = make()
    policy.reset(ONE, [0], [""])
    kill_the_next_busy_host()
    with pytest.raises(PolicyUnavailable, match="SIGKILL"):
        policy.predict({"state": np.full((1, 3), 15, np.float32)}, ONE)
    assert asked(policy, 0.5).tolist() == [[[0.25, 0.25]]]


class Killer(Observer):
    """Kills the host of a policy once, in the middle of an episode."""

    def __init__(self, policy):
        self.policy, self.steps = policy, 0

    def on_step(self, step):
        self.steps += 1
        if self.steps == 12:
            self.policy._host.kill()


def test_a_run_whose_host_is_killed_gives_the_same_episodes(make):
    pendulum = find_environment("gym:Pendulum-v1?max_episode_steps=8&success=return>=-20")
    agent = {"action": (-2, 2, (1,)), "options": {"deterministic": "false"}, "spec": pendulum.offer()}

    def run(observe):
        policy = make(**agent)
        with closing(build_environment(pendulum, [policy.needs], 2), policy) as env:
            return rollout(env, policy, plan_episodes(5), [observe(policy)])

    killed = run(Killer)
    assert killed == run(lambda policy: Observer())
    assert {each.status for each in killed} <= {"success", "failure"}


def test_no_host_outlives_a_process_that_is_killed(tmp_path):
    path = write_agent(tmp_path / "agent.zip")
    code = f"""
from policies.registry import make_policy
from tests.policies.foreign.test_remote import SPEC, asked
policy = make_policy("sb3:{path}", spec=SPEC)
print(policy._host._process.pid, flush=True)
asked(policy, 15)
"""
    command, environment = [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        host = int(parent.stdout.readline())
        time.sleep(0.3)
        os.kill(host, 0)
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_running(host))


def test_the_observation_is_found_by_key_or_by_shape(make):
    by_key = make(observation={"state": (-9, 9, (3,)), "environment_state": (-9, 9, (3,))})
    assert list(by_key.needs.vectors) == ["state", "environment_state"]
    by_shape = make(observation=(0, 255, (20, 30, 3), "uint8"), spec=with_one_camera())
    assert by_shape.needs.cameras == {"fixed": (20, 30)}
    channels_first = make(observation=(0, 255, (3, 20, 30), "uint8"), spec=with_one_camera())
    assert channels_first.needs.cameras == {"fixed": (20, 30)}


def with_one_camera():
    return EnvSpec(**{**vars(SPEC), "cameras": {"fixed": (20, 30)}})


@pytest.mark.parametrize(
    ("agent", "problem"),
    [
        ({"observation": (-9, 9, (4,))}, r"policy float32 of shape \(4,\), environment state of 3 numbers"),
        ({"observation": {"stat": (-9, 9, (3,))}}, "observation 'stat'"),
        ({"observation": (0, 255, (20, 30, 3), "uint8")}, "several: front, fixed"),
        ({"action": (-2, 2, (2,))}, "policy -2, -2, environment -1, -1"),
        ({"action": (-1, 1, (3,))}, "policy -1, -1, -1, environment -1, -1"),
        ({"action": "discrete"}, r"in a Box, the agent has Discrete\(4\)"),
        ({"module": "sb3_contrib.ppo_recurrent"}, "sb3_contrib"),
    ],
)
def test_an_agent_that_does_not_fit_is_refused(make, agent, problem):
    with pytest.raises(SimScaleError, match=problem):
        make(**agent)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"determinstic": "false"}, "Did you mean 'deterministic'"),
        ({"deterministic": "maybe"}, "true or false, got 'maybe'"),
        ({"n_action_steps": "2"}, "n_action_steps of at most 1"),
        ({"python": "/no/such/python"}, "Python interpreter, got /no/such/python"),
        ({"vec_normalize": "missing.pkl"}, "expected a file"),
        ({"device": "abacus"}, "cpu or cuda, got abacus"),
    ],
)
def test_options_that_are_wrong(make, options, problem):
    with pytest.raises(SimScaleError, match=problem) as mistake:
        make(options)
    assert "\n" not in str(mistake.value)


def test_the_flag_device_reaches_it(tmp_path, monkeypatch):
    path = write_agent(tmp_path / "agent.zip")
    policy = make_policy(f"sb3:{path}", spec=SPEC, device="cpu")
    policy.close()
    assert policy.options["device"] == "cpu"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SimScaleError, match="--device cuda needs a GPU"):
        make_policy(f"sb3:{path}", spec=SPEC, device="cuda")


def test_files_that_are_no_agents(tmp_path):
    with pytest.raises(SimScaleError, match="expected the file of an agent"):
        make_policy(f"sb3:{tmp_path / 'none'}", spec=SPEC)
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(SimScaleError, match="no file that Stable-Baselines3 has saved"):
        make_policy(f"sb3:{tmp_path / 'text'}", spec=SPEC)


def test_a_file_without_the_name_of_its_library(tmp_path):
    path = write_agent(tmp_path / "agent.zip")
    with pytest.raises(SimScaleError, match=f"say --model sb3:{path}"):
        make_policy(str(path), spec=SPEC)


def test_a_library_that_is_not_installed(tmp_path):
    (tmp_path / "stable_baselines3.py").unlink()
    (tmp_path / "stable_baselines3").mkdir()  # a folder with files of any kind is no library
    with pytest.raises(SimScaleError, match="python -m policies install sb3"):
        make_policy(f"sb3:{write_agent(tmp_path / 'agent.zip')}", spec=SPEC)


def test_the_identity_is_that_of_the_file(make, tmp_path):
    policy = make()
    moved = (tmp_path / "agent.zip").rename(tmp_path / "moved.zip")
    again = make_policy(f"sb3:{moved}", spec=SPEC)
    again.close()
    assert policy.identity == again.identity != make(gain=0.25).identity
