"""Checkpoints, datasets and runs that are damaged, or that others wrote."""

import numpy as np
import pytest
from mistake import (
    CANARY,
    DATA,
    EPISODE,
    HUGE,
    LEARNED,
    MODEL,
    RUN,
    TRAIN,
    Mistake,
    check,
    config,
    cut,
    description,
    edit_episode,
    edit_line,
    edit_weights,
    look,
    needs,
    no_episodes,
    old_contract,
    run_record,
)

CHECKPOINTS = {
    "another model": Mistake("rollout --model vla --checkpoint bc --env reach", "say --model bc"),
    "another environment": Mistake(
        "rollout --model bc --checkpoint bc --env pick-place --output new", "does not fit the environment", listing=True
    ),
    "another scene": Mistake(
        LEARNED,
        "does not fit the environment",
        lambda: needs("environments", value={"SimScale/Reach-v0": "0"}),
        listing=True,
    ),
    "cut weights": Mistake(LEARNED, "is not the file that config.json", lambda: cut(MODEL / "model.safetensors")),
    "no weights": Mistake(LEARNED, "cannot read model.safetensors", lambda: (MODEL / "model.safetensors").unlink()),
    "cut configuration": Mistake(LEARNED, "config.json is not JSON", lambda: cut(MODEL / "config.json")),
    "binary configuration": Mistake(
        LEARNED, "config.json is not JSON", lambda: (MODEL / "config.json").write_bytes(b"\xff\xfe")
    ),
    "deep configuration": Mistake(
        LEARNED, "config.json is not JSON", lambda: (MODEL / "config.json").write_text("[" * 100_000)
    ),
    "a list": Mistake(LEARNED, "must hold an object, got list", lambda: (MODEL / "config.json").write_text("[]")),
    "weights not finite": Mistake(LEARNED, "not finite", lambda: edit_weights(lambda weight: weight * np.nan)),
    "weights of another shape": Mistake(LEARNED, "has shape", lambda: edit_weights(lambda weight: weight[:-1])),
    "a newer version": Mistake(LEARNED, "update simscaleai", lambda: config("inference_version", value=99)),
    "an old version": Mistake(LEARNED, "inference_version", lambda: config("inference_version", value=-1)),
    "a huge version": Mistake(LEARNED, "update simscaleai", lambda: config("inference_version", value=HUGE)),
    "a module": Mistake(LEARNED, "pass exactly that name", lambda: config("model", "module", value=f"{CANARY}:Model")),
    "a module for a name": Mistake(LEARNED, "unknown model", lambda: config("model", "name", value=f"{CANARY}:Model")),
    "a module that is no name": Mistake(LEARNED, "bc", lambda: config("model", "module", value=[1])),
    "unknown arguments": Mistake(LEARNED, "cannot be built", lambda: config("model", "arguments", "x", value=1)),
    "huge arguments": Mistake(LEARNED, "bc", lambda: config("model", "arguments", "hidden_dim", value=10**12)),
    "arguments of another type": Mistake(LEARNED, "bc", lambda: config("model", "arguments", "hidden_dim", value="x")),
    "a negative size": Mistake(LEARNED, "bc", lambda: config("model", "arguments", "hidden_dim", value=-1)),
    "no arguments": Mistake(
        LEARNED, "expected model.arguments of type dict", lambda: config("model", "arguments", value=None)
    ),
    "chunks too long": Mistake(LEARNED, "n_action_steps", lambda: config("n_action_steps", value=HUGE)),
    "needs of nothing": Mistake(LEARNED, "needs and processor name different", lambda: needs(value={})),
    "no needs": Mistake(LEARNED, "expected needs with named entries, got null", lambda: needs(value=None)),
    "a layout of another type": Mistake(LEARNED, "needs.vectors.state", lambda: needs("vectors", "state", value=5)),
    "environments of another type": Mistake(LEARNED, "needs.environments", lambda: needs("environments", value=[1])),
    "sizes of another type": Mistake(
        LEARNED,
        "expected needs.vectors.state.features.size of type int",
        lambda: needs("vectors", "state", "features", 0, "size", value="1"),
    ),
    "a huge size": Mistake(
        LEARNED, "config.json: expected a size", lambda: needs("vectors", "state", "features", 0, "size", value=10**9)
    ),
    "no history": Mistake(LEARNED, "expected a history of at least 1", lambda: needs("history", value=0)),
    "a huge image": Mistake(
        LEARNED, "a height and width of 1 to 4096 px", lambda: needs("cameras", value={"front": [10**9, 10**9]})
    ),
    "cameras that are a number": Mistake(LEARNED, "needs.cameras of type", lambda: needs("cameras", value=3)),
    "a camera that is none": Mistake(
        LEARNED,
        r"camera '\x1b[2J': policy needs it, environment has front, wrist",
        lambda: look("\x1b[2J"),
        listing=True,
    ),
    "an old contract of nothing": Mistake(LEARNED, "stored needs are damaged", lambda: old_contract({})),
    "an old contract of other types": Mistake(
        LEARNED,
        "expected vectors.state.features",
        lambda: old_contract({"state": 5, "environments": {}, "control_hz": 20}),
    ),
    "a processor of nothing": Mistake(LEARNED, "expected processor.vectors", lambda: config("processor", value={})),
    "a processor of other sizes": Mistake(
        LEARNED,
        "needs and processor name different observations, or give them different sizes",
        lambda: config("processor", "vectors", "state", value={"offset": [0.0], "scale": [1.0]}),
    ),
    "a processor that divides by zero": Mistake(
        LEARNED, "scales above 0", lambda: config("processor", "vectors", "state", "scale", value=[0.0] * 20)
    ),
    "a training of another type": Mistake(
        LEARNED, "expected training of type dict", lambda: config("training", value=[])
    ),
}

VERIFY = "collect --verify data"
DATASETS = {
    "no description": Mistake("data info data", "has no dataset.json", lambda: (DATA / "dataset.json").unlink()),
    "cut description": Mistake("data info data", "dataset.json is damaged", lambda: cut(DATA / "dataset.json")),
    "a newer version": Mistake(
        TRAIN, "reads simscaleai-dataset up to", lambda: description("format_version", value=99)
    ),
    "deep description": Mistake(TRAIN, "damaged", lambda: (DATA / "dataset.json").write_text("[" * 100_000)),
    "needs of nothing": Mistake(TRAIN, "dataset.json is damaged", lambda: description("needs", value={})),
    "a state of another type": Mistake(
        TRAIN, "expected needs.vectors.state", lambda: description("needs", "vectors", "state", value=5)
    ),
    "an array type of another type": Mistake(
        TRAIN, "array_types.action.shape", lambda: description("array_types", "action", "shape", value="x")
    ),
    "a dtype that is none": Mistake(
        TRAIN, "got evil", lambda: description("array_types", "action", "dtype", value="evil")
    ),
    "statistics of another type": Mistake(TRAIN, "data", lambda: description("statistics", "action", value=1)),
    "empty dataset": Mistake(TRAIN, "holds no finished episode", no_episodes),
    "empty dataset to verify": Mistake(VERIFY, "no finished episode", no_episodes),
    "empty dataset to export": Mistake("data export data --output new", "no finished episode", no_episodes),
    "a line that is nonsense": Mistake(
        TRAIN, "line 1 is damaged", lambda: (DATA / "episodes.jsonl").write_text("nonsense\n")
    ),
    "a line that is a number": Mistake(TRAIN, "line 1 is damaged", lambda: (DATA / "episodes.jsonl").write_text("5\n")),
    "a deep line": Mistake(
        TRAIN, "line 1 is damaged", lambda: (DATA / "episodes.jsonl").write_text("[" * 100_000 + "\n")
    ),
    "a way out": Mistake(
        TRAIN, "lies outside the dataset", lambda: edit_line(DATA / "episodes.jsonl", file="../full/file")
    ),
    "an absolute path": Mistake(
        VERIFY, "lies outside the dataset", lambda: edit_line(DATA / "episodes.jsonl", file="/etc/passwd")
    ),
    "a file that is a number": Mistake(TRAIN, "damaged", lambda: edit_line(DATA / "episodes.jsonl", file=5)),
    "a huge length": Mistake(TRAIN, "data", lambda: edit_line(DATA / "episodes.jsonl", length=10**15)),
    "a missing episode": Mistake(TRAIN, "episode_000000.safetensors", EPISODE.unlink),
    "a cut episode": Mistake(TRAIN, "episode_000000.safetensors", lambda: cut(EPISODE, -50)),
    "an episode that is none": Mistake(TRAIN, "episode_000000.safetensors", lambda: EPISODE.write_bytes(b"x" * 99)),
    "an episode of another shape": Mistake(
        TRAIN, "action", lambda: edit_episode(action=lambda action: action[:, :2].copy())
    ),
    "actions not finite": Mistake(TRAIN, "data", lambda: edit_episode(action=lambda action: action * np.nan)),
    "failures": Mistake(TRAIN, "--allow-failures", lambda: edit_line(DATA / "episodes.jsonl", success=False)),
    "other needs to resume": Mistake(
        "collect --env pick-place --episodes 3 --output data --resume", "cannot add to data: needs.vectors.state"
    ),
}

RUNS = {
    "no record": Mistake("compare run other", "run", lambda: (RUN / "run.json").unlink()),
    "a cut record": Mistake("compare run other", "run", lambda: cut(RUN / "run.json")),
    "a deep record": Mistake("report run", "run", lambda: (RUN / "run.json").write_text("[" * 100_000)),
    "a record of other types": Mistake(
        "report run", "expected policies.model of type str, got 5", lambda: run_record("policies", 0, "model", value=5)
    ),
    "a newer record": Mistake("compare other run", "run", lambda: run_record("schema_version", value=99)),
    "a huge number": Mistake("report run", "run", lambda: run_record("resolved", "episodes", value=-HUGE)),
    **{
        f"a huge {name}": Mistake(
            "compare run other",
            "run/episodes.jsonl, line 1",
            lambda name=name: edit_line(RUN / "episodes.jsonl", **{name: HUGE}),
        )
        for name in ("steps", "return", "seed", "episode_index")
    },
    "huge seconds": Mistake("compare run other", "timing.seconds", lambda: run_record("timing", "seconds", value=HUGE)),
    "an episode twice": Mistake(
        "compare run other",
        "repeats episode 0",
        lambda: (RUN / "episodes.jsonl").write_text(
            "\n".join((RUN / "episodes.jsonl").read_text().splitlines()[:1] * 2) + "\n"
        ),
    ),
    "a number that is none": Mistake(
        "report run", "expected finite numbers, got NaN", lambda: run_record("timing", "seconds", value=np.nan)
    ),
    "an episode that is none": Mistake(
        "compare run other", "line 1, is no episode", lambda: (RUN / "episodes.jsonl").write_text("nonsense\n")
    ),
    "an episode of other types": Mistake("report run", "run", lambda: edit_line(RUN / "episodes.jsonl", seed="1")),
    "a record to resume": Mistake(
        "rollout --model zero --env reach --episodes 2 --output run --resume", "run", lambda: cut(RUN / "run.json")
    ),
    "an episode to resume": Mistake(
        "rollout --model zero --env reach --episodes 2 --output run --resume",
        "run/episodes.jsonl",
        lambda: edit_line(RUN / "episodes.jsonl", status="won"),
    ),
    "another policy to resume": Mistake(
        "rollout --model random --env reach --episodes 2 --output run --resume", "cannot resume run", listing=True
    ),
    "another run to decide against": Mistake(
        "rollout --model zero --env pick-place --until-decided --vs run --output new", "run", listing=True
    ),
}

TABLE = {
    f"{kind}: {name}": mistake
    for kind, mistakes in {"checkpoint": CHECKPOINTS, "dataset": DATASETS, "run": RUNS}.items()
    for name, mistake in mistakes.items()
}


@pytest.mark.parametrize("name", TABLE)
def test_a_mistake_is_one_line_and_changes_nothing(place, capfd, name):
    """Also no module that a file names is imported: that would leave a file."""
    check(TABLE[name], place, capfd)
