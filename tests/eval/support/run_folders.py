"""Run folders made from typed records in no time, without any simulation."""

from dataclasses import replace

from eval.episodes.results import EpisodeResult
from eval.runs.log_file import EPISODES_FILE, write_results
from eval.runs.provenance import Source
from eval.runs.record import RunRecord, Timing
from eval.runs.schema.conditions import PolicyRecord, Resolved
from eval.runs.schema.stopping import SequentialRecord
from eval.runs.summary import summarise
from simscaleai.contract import ActionSpec, EnvSpec, Feature, Layout
from simscaleai.perturbation import Axis

PICK_PLACE = "SimScale/PickPlace-v0"
OUTCOMES = {"+": "success", "-": "failure", "E": "error"}

SPEC = EnvSpec(
    env_id=PICK_PLACE,
    digest="ea6e",
    vectors={
        "state": Layout((Feature("ee_position", 3, "m", "world"),)),
        "environment_state": Layout((Feature("cube_position", 3, "m", "world"),), privileged=True),
    },
    cameras={"front": None},
    action=ActionSpec(names=("delta_x", "gripper"), low=(-1.0, -1.0), high=(1.0, 1.0), meaning="displacement"),
    control_hz=20,
    max_episode_steps=150,
    success="the cube is at the goal",
    has_instructions=True,
)

RECORD = RunRecord(
    config={"model": "bc", "checkpoint": "my checkpoints/bc", "env": "pick-place", "terminate_on_success": True},
    resolved=Resolved(environment=PICK_PLACE, num_envs=16, workers=1, episodes=3),
    environment=SPEC,
    policies=(
        PolicyRecord(
            model="bc",
            checkpoint="my checkpoints/bc",
            identity="5bce" * 16,
            needs=SPEC.needs("state", cameras={"front": (96, 96)}),
        ),
    ),
    fingerprint={"machine": "x86_64", "libraries": {"mujoco": "4.0.0", "torch": "2.13"}, "gl_renderer": "llvmpipe"},
    summary=summarise([], 0),
)
"""The record of a complete run; `write_run` fills in the number of episodes."""


def make_axis(name, changes="looks", unit="deg"):
    """Returns an axis with the magnitudes of a camera angle."""
    return Axis(
        name=name, unit=unit, magnitudes=(5.0, 15.0, 30.0, 45.0, 75.0), changes=changes, is_signed=True, summary="s."
    )


LIGHT, MASS = make_axis("light.intensity", unit="stop"), make_axis("object.mass", "physics")


def episode(index, seed, outcome, failure="dropped"):
    """Returns a result; `outcome` is + for a success, - for a failure, E for an error."""
    return EpisodeResult(
        episode_index=index,
        seed=seed,
        instruction="pick up the red cube",
        target="red",
        status=OUTCOMES[outcome],
        success_once=outcome == "+",
        success_held=None,
        success_at_end=None,
        steps=30,
        return_=float(outcome == "+"),
        stage="placed",
        failure=None if outcome == "+" else failure,
        digest="ab" * 32,
    )


def changed(record=RECORD, *, config=None, environment=None, policy=None, fingerprint=None, **others):
    """Returns `record` with entries of its parts changed; other keywords replace whole parts."""
    spec = replace(record.environment, **(environment or {}))
    others.setdefault("resolved", replace(record.resolved, environment=spec.env_id))
    return replace(
        record,
        config={**record.config, **(config or {})},
        environment=spec,
        policies=(replace(record.policy, **(policy or {})), *record.policies[1:]),
        fingerprint={**record.fingerprint, **(fingerprint or {})},
        **others,
    )


def with_summary(record, outcomes):
    """Returns `record` as it is after a run with these outcomes."""
    results = [episode(index, index, outcome) for index, outcome in enumerate(outcomes)]
    source = Source(commit="ab" * 20, dirty=True)
    timing = Timing(started="2026-01-02T03:04:05+00:00", seconds=12.5, episodes_per_second=4.0)
    return replace(record, summary=summarise(results, len(outcomes)), timing=timing, source=source)


def stopped(episodes, limit=100, *, decided=True, **others):
    """Returns the stopping rule of a run that ended after so many episodes."""
    return SequentialRecord(
        **{
            "rule": "until_width",
            "threshold": 0.1,
            "limit": limit,
            "episodes": episodes,
            "decided": decided,
            "saved": (limit - episodes) * decided,
        }
        | others
    )


def write_run(folder, outcomes, *, record=RECORD, first_seed=0, planned=None, results=None):
    """Makes a run folder from one character for each episode: + success, - failure, E error."""
    folder.mkdir(parents=True)
    resolved = replace(record.resolved, episodes=len(outcomes) if planned is None else planned)
    replace(record, resolved=resolved).write(folder)
    episodes = [episode(index, first_seed + index, outcome) for index, outcome in enumerate(outcomes)]
    write_results(folder / EPISODES_FILE, episodes if results is None else results)
    return folder
