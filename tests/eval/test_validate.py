"""`eval.rollout --validate`: the best of several checkpoints, and what may be believed of it."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from eval import rollout
from eval.plan import VALIDATION_SEEDS
from eval.results import EPISODES_FILE, EpisodeResult, RunRecord, read_results, write_results
from eval.rollout_config import RolloutConfig
from eval.statistics import wilson
from eval.validation import validate


@pytest.fixture(autouse=True)
def workdir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def episode(index, seed, success):
    return EpisodeResult(
        episode_index=index,
        seed=seed,
        instruction="",
        target=None,
        status="success" if success else "failure",
        success_once=bool(success),
        success_held=None,
        success_at_end=None,
        steps=30,
        return_=0.0,
        stage="",
        failure=None,
        digest="",
    )


def leave(config, results):
    """Leaves the folder of a complete run."""
    record = RunRecord(
        config={"model": config.model, "terminate_on_success": True},
        resolved={"environment": "SimScale/Reach-v0", "episodes": len(results)},
        source=None,
        fingerprint={},
        checkpoint_digest=None,
        contract={},
        timing={},
        summary={},
    )
    record.write(config.output)
    write_results(config.output / EPISODES_FILE, results)


@pytest.fixture
def coins():
    """A stand-in for a run: the model named p succeeds with probability p; also says which runs there were."""
    asked = []

    def run(config):
        asked.append((config.model, config.seed, config.output.name, config.resume))
        rng = np.random.default_rng([config.seed, len(config.model), config.num_envs or 16])
        outcomes = rng.random(config.episodes) < float(config.model)
        config.output.mkdir(exist_ok=True)
        leave(config, [episode(index, config.seed + index, success) for index, success in enumerate(outcomes)])

    run.asked = asked
    return run


@pytest.fixture
def policies(monkeypatch):
    """What the checkpoints record as trained on."""
    from types import SimpleNamespace

    training = {}
    policy = SimpleNamespace(checkpoint=SimpleNamespace(training=training))
    monkeypatch.setattr("eval.validation.build_policy", lambda *arguments: policy)
    return training


def choose(run, *models, **options):
    return validate(RolloutConfig(validate=models, output=Path("v"), env="reach", **options), run)


def test_all_run_on_the_same_seeds_and_the_best_once_more_on_fresh_ones(coins, policies, capsys):
    first = VALIDATION_SEEDS.start
    validation = choose(coins, "0.3", "0.9", "0.5", episodes=40)
    assert coins.asked == [
        ("0.3", first, "1", False),
        ("0.9", first, "2", False),
        ("0.5", first, "3", False),
        ("0.9", first + 40, "fresh", False),
    ]
    assert validation.best.folder == Path("v/2")
    found = json.loads(Path("v/validation.json").read_text())
    assert (found["best"], found["checkpoints"]) == ("0.9", ["0.3", "0.9", "0.5"])
    chosen, fresh = found["candidates"][1], found["fresh"]
    assert found["optimism"] == pytest.approx(chosen["success_rate"] - fresh["success_rate"])
    low, high, _ = wilson(fresh["successes"], 40)
    assert found["optimism_95"] == pytest.approx([chosen["success_rate"] - high, chosen["success_rate"] - low])
    assert found["candidates"][0]["less_best"] == pytest.approx(
        found["candidates"][0]["success_rate"] - chosen["success_rate"]
    )
    assert chosen["less_best"] == 0
    out = capsys.readouterr().out
    assert re.search(r"^chosen +0\.9$", out, re.MULTILINE)
    assert re.search(
        rf"^fresh +{fresh['successes']}/40 .* \(Wilson\), 40 episodes, seeds {first + 40} to {first + 79}: "
        "only this figure may be believed$",
        out,
        re.MULTILINE,
    )
    assert re.search(r"^optimism +[+-]\d", out, re.MULTILINE)


def test_of_equals_the_first_is_chosen(coins, policies):
    assert choose(coins, "0.0", "0", "0.00", episodes=5).best.record.config["model"] == "0.0"


def test_the_fresh_score_is_not_flattered_by_the_choice(coins, policies):
    """Of equally good ones, the best of 8 looks better than it is; scored anew, on average, it does not."""
    models = [f"0.5{'0' * number}" for number in range(8)]
    optimism, fresh = [], []
    for repetition in range(1, 31):
        config = RolloutConfig(
            validate=tuple(models), output=Path(str(repetition)), env="reach", episodes=50, num_envs=repetition
        )
        validation = validate(config, coins)
        optimism.append(validation.optimism)
        fresh.append(np.mean(list(validation.fresh.successes.values())))
    assert np.mean(optimism) > 0.06
    assert np.mean(fresh) == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ((0, 10), 40),
        ((45, 50), 51),
        ((0, 60), 61),
        ((79, 500), 501),
        ((80, 500), 40),
    ],
)
def test_fresh_seeds_are_none_that_the_winner_was_trained_on(coins, policies, recorded, expected):
    start = VALIDATION_SEEDS.start
    first, last = (start + seed for seed in recorded)
    policies["seeds"] = {"first": first, "last": last, "count": last - first + 1}
    choose(coins, "0.1", "0.9", episodes=40)
    assert coins.asked[-1][1] == start + expected


def test_a_winner_that_leaves_no_fresh_seeds_is_refused(coins, policies, capsys):
    policies["seeds"] = {"first": VALIDATION_SEEDS.start, "last": VALIDATION_SEEDS.stop - 5, "count": 7}
    with pytest.raises(Exception, match=r"expected 40 validation seeds that 0\.9 was not trained on"):
        choose(coins, "0.1", "0.9", episodes=40)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--validate", "zero"], "expected at least 2 different checkpoints with --validate, got zero"),
        (["--validate", "zero", "zero"], "expected at least 2 different checkpoints"),
        (["--validate", "zero", "random", "--model", "zero"], "expected --validate or --model, got both"),
        (["--validate", "zero", "random", "--seed", "3"], "expected --validate or --seed, got both"),
        (["--validate", "zero", "random", "--until-width", "5pp"], "expected --validate or --until-width, got both"),
        (["--validate", "zero", "random", "--episodes", "0"], "expected at least 1 episode, got 0"),
        (["--validate", "zero", "random", "--resume"], "expected --output with --resume"),
        (["--validate", "zero", "randm", "--env", "reach"], "Did you mean 'random'?"),
        ([], "expected --model, got none"),
    ],
)
def test_mistakes_are_one_line(capsys, flags, message):
    assert rollout.main(flags) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ")
    assert message in line


FLAGS = ["--validate", "zero", "scripted", "--env", "reach", "--episodes", "4", "--output", "v"]


def test_the_command_leaves_a_run_for_each_and_resumes(capsys):
    assert rollout.main(FLAGS) == 0
    before = {path: path.read_bytes() for path in Path("v").glob("*/episodes.jsonl")}
    assert sorted(path.parent.name for path in before) == ["1", "2", "fresh"]
    seeds = [result.seed for result in read_results(Path("v/fresh", EPISODES_FILE))]
    assert seeds == [VALIDATION_SEEDS.start + 4 + index for index in range(4)]
    assert RunRecord.read(Path("v/fresh")).config["model"] == "scripted"
    found = json.loads(Path("v/validation.json").read_text())
    assert rollout.main(FLAGS) == 2
    Path("v/2", EPISODES_FILE).write_bytes(before[Path("v/2", EPISODES_FILE)][:-30])
    for path in Path("v/fresh").iterdir():
        path.unlink()
    Path("v/fresh").rmdir()
    capsys.readouterr()
    assert rollout.main([*FLAGS, "--resume", "--workers", "2"]) == 0
    out = capsys.readouterr().out
    assert "v/1: complete, nothing to resume" in out
    assert "v/2: 1 of 4 episodes are missing" in out
    assert {path: path.read_bytes() for path in before} == before
    assert json.loads(Path("v/validation.json").read_text()) == found


def test_another_choice_is_not_resumed(capsys):
    assert rollout.main(FLAGS) == 0
    assert rollout.main(["--validate", "scripted", "zero", *FLAGS[3:], "--resume"]) == 2
    assert 'checkpoints: was ["zero", "scripted"], is ["scripted", "zero"]' in capsys.readouterr().err


def test_an_interrupted_choice_says_how_to_go_on(monkeypatch, capsys):
    from envs.vector_env import TaskVectorEnv

    def interrupted(self, *args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(TaskVectorEnv, "step", interrupted)
        assert rollout.main(FLAGS) == 130
    (command,) = re.findall(r"^continue all with +python -m eval.rollout (.*)$", capsys.readouterr().out, re.MULTILINE)
    assert rollout.main(shlex.split(command)) == 0
    assert json.loads(Path("v/validation.json").read_text())["best"] == "scripted"


def test_errors_are_the_exit_code(monkeypatch):
    from envs.vector_env import TaskVectorEnv

    def fail(self, actions, active):
        raise OSError("the machine is on fire")

    monkeypatch.setattr(TaskVectorEnv, "step", fail)
    assert rollout.main(FLAGS) == 1


def test_the_checkpoints_must_do_the_same_task(make_checkpoint, capsys):
    """A checkpoint with another time limit has other chances."""
    a, b = make_checkpoint("bc"), make_checkpoint("bc-image")
    config = json.loads((b / "config.json").read_text())
    config["contract"]["max_episode_steps"] = 20
    (b / "config.json").write_text(json.dumps(config))
    assert rollout.main(["--validate", str(a), str(b), *FLAGS[3:]]) == 2
    assert "max episode steps: A has 50, B has 20" in capsys.readouterr().err
