"""`eval.validate`: the best of several checkpoints, and its success rate without bias from the choice."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import point_world
import pytest

from eval import validate
from eval.episodes.plan import VALIDATION_SEEDS
from eval.runs.log_file import EPISODES_FILE, read_results
from eval.runs.record import RunRecord
from eval.statistics.rates import wilson
from simscaleai.errors import SimScaleError

FIRST = VALIDATION_SEEDS.start

pytestmark = pytest.mark.usefixtures("workdir", "point_package")


@pytest.fixture(autouse=True)
def _coins(workdir, monkeypatch):
    """Policies by probability: in the point world `coins:0.3` succeeds with probability 0.3, as the seed says.

    The same probability in another spelling is another coin. As long as there is a file `interrupt`, they are
    interrupted when they are asked.
    """
    (workdir / "coins.py").write_text(
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from policies.base import Policy\n\n\n"
        "class Coin(Policy):\n"
        "    def __init__(self, spec, spelling):\n"
        "        self.needs, self.identity = spec.needs('position'), spelling\n"
        "        self.spelling, self.succeeds = spelling, {}\n\n"
        "    def reset(self, slots, seeds, instructions):\n"
        "        for slot, seed in zip(slots.tolist(), seeds):\n"
        "            rng = np.random.default_rng([seed, *self.spelling.encode()])\n"
        "            self.succeeds[slot] = rng.random() < float(self.spelling)\n\n"
        "    def predict(self, observation, slots):\n"
        "        if Path('interrupt').exists():\n"
        "            raise KeyboardInterrupt\n"
        "        good = np.array([self.succeeds[slot] for slot in slots.tolist()])\n"
        "        return np.where(good[:, None, None], -5 * observation['position'][:, None], np.float32('nan'))\n\n\n"
        "def __getattr__(name):\n"
        "    float(name) if name[0] in '01' else getattr(object, name)\n"
        "    return lambda spec: Coin(spec, name)\n"
    )
    monkeypatch.syspath_prepend(str(workdir))


def choose(*coins, output="v", **options):
    """Chooses between coins and checkpoint folders."""
    names = [name if Path(name).is_dir() else f"coins:{name}" for name in coins]
    config = validate.ValidateConfig(checkpoints=tuple(names), output=Path(output), env="point", **options)
    return validate.validate(config)


def written(folder="v"):
    return json.loads(Path(folder, "validation.json").read_text())


def seeds_of(run):
    return [result.seed for result in read_results(Path(run, EPISODES_FILE))]


def test_all_run_on_the_same_seeds_and_the_best_once_more_on_fresh_ones(capsys):
    validation = choose("0.3", "0.9", "0.5", episodes=40)
    assert sorted(path.name for path in Path("v").iterdir()) == ["1", "2", "3", "fresh", "validation.json"]
    models = [RunRecord.read(Path("v", name)).policy.model for name in ("1", "2", "3", "fresh")]
    assert models == ["coins:0.3", "coins:0.9", "coins:0.5", "coins:0.9"]
    for name in ("1", "2", "3"):
        assert seeds_of(f"v/{name}") == list(range(FIRST, FIRST + 40))
    assert seeds_of("v/fresh") == list(range(FIRST + 40, FIRST + 80))
    assert validation.best.folder == Path("v/2")
    found = written()
    assert (found["best"], found["checkpoints"]) == ("coins:0.9", models[:3])
    chosen, fresh = found["candidates"][1], found["fresh"]
    assert fresh["successes"] == sum(
        result.status == "success" for result in read_results(Path("v/fresh/episodes.jsonl"))
    )
    assert found["optimism"] == pytest.approx(chosen["success_rate"] - fresh["success_rate"])
    low, high, _ = wilson(fresh["successes"], 40)
    assert found["optimism_95"] == pytest.approx([chosen["success_rate"] - high, chosen["success_rate"] - low])
    assert found["candidates"][0]["less_best"] == pytest.approx(
        found["candidates"][0]["success_rate"] - chosen["success_rate"]
    )
    assert chosen["less_best"] == 0
    out = capsys.readouterr().out
    assert re.search(r"^chosen +coins:0\.9$", out, re.MULTILINE)
    assert re.search(
        rf"^fresh +{fresh['successes']}/40 .* \(Wilson\), 40 episodes, seeds {FIRST + 40} to {FIRST + 79}: "
        "the estimate without bias from the choice$",
        out,
        re.MULTILINE,
    )
    assert re.search(r"^optimism +[+-]\d", out, re.MULTILINE)


def test_of_equals_the_first_is_chosen():
    assert choose("0.0", "0", "0.00", episodes=5).best.record.policy.model == "coins:0.0"


@pytest.mark.slow
def test_the_choice_does_not_bias_the_fresh_score():
    """The best of 8 equally good coins looks better than it is; on fresh seeds, on average, it does not."""
    optimism, fresh = [], []
    for repetition in range(4):
        coins = [f"0.5{'0' * (8 * repetition + number)}" for number in range(8)]
        validation = choose(*coins, output=str(repetition), episodes=200, quiet=True)
        optimism.append(validation.optimism)
        fresh.append(validation.fresh.successes / 200)
    assert np.mean(optimism) > 0.03
    assert np.mean(fresh) == pytest.approx(0.5, abs=0.04)


@pytest.fixture
def trained(workdir):
    """Writes a checkpoint for the point world that never arrives and was trained on these seeds, first to last."""

    def write(first, last, **seeds):
        from simscaleai.checkpoint import save_checkpoint
        from simscaleai.models.registry import create_model
        from simscaleai.processing import Processor

        needs, arguments = point_world.SPEC.needs("position"), {"state_dim": 2, "action_dim": 2, "hidden_dim": 4}
        vector = {"min": [-1.0] * 2, "max": [1.0] * 2, "mean": [0.0] * 2, "std": [1.0] * 2}
        idle = {"min": [0.0] * 2, "max": [0.0] * 2, "mean": [0.0] * 2, "std": [0.0] * 2}
        save_checkpoint(
            "trained",
            model=create_model("bc", **arguments),
            model_name="bc",
            model_arguments=arguments,
            needs=needs,
            processor=Processor.fit(needs, {"observation.position": vector, "action": idle}),
            training={"seeds": seeds or {"first": first, "last": last, "count": last - first + 1}},
        )
        return "trained"

    return write


@pytest.mark.parametrize(
    ("recorded", "expected"), [((0, 1), 5), ((6, 8), 9), ((0, 7), 8), ((9, 60), 61), ((10, 60), 5)]
)
def test_fresh_seeds_are_none_that_the_winner_was_trained_on(trained, recorded, expected):
    first, last = (FIRST + seed for seed in recorded)
    choose(trained(first, last), "0", episodes=5, quiet=True)
    assert RunRecord.read(Path("v/fresh")).policy.model == "trained"
    assert seeds_of("v/fresh") == list(range(FIRST + expected, FIRST + expected + 5))


def test_fresh_seeds_may_lie_between_those_that_the_winner_was_trained_on(trained):
    intervals = [[FIRST - 10, FIRST - 5], [FIRST + 6, FIRST + 6], [FIRST + 20, FIRST + 60]]
    choose(trained(0, 0, intervals=intervals, count=48), "0", episodes=5, quiet=True)
    assert seeds_of("v/fresh") == list(range(FIRST + 7, FIRST + 12))


def test_a_winner_that_leaves_no_fresh_seeds_is_refused(trained):
    checkpoint = trained(FIRST, VALIDATION_SEEDS.stop - 3)
    with pytest.raises(SimScaleError, match="expected 5 validation seeds that trained was not trained on"):
        choose(checkpoint, "0", episodes=5, quiet=True)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["zero"], "expected at least 2 different checkpoints, got zero"),
        ([], "expected at least 2 different checkpoints, got none"),
        (["zero", "zero"], "expected at least 2 different checkpoints"),
        (["zero", "random", "--model", "zero"], "Unrecognized options: --model"),
        (["zero", "random", "--seed", "3"], "Unrecognized options: --seed"),
        (["zero", "random", "--episodes", "0"], "expected at least 1 episode, got 0"),
        (["zero", "random", "--workers", "0"], "expected --workers of at least 1, got 0"),
        (["zero", "random", "--num-envs", "0"], "expected --num-envs of at least 1, got 0"),
        (["zero", "random", "--resume"], "expected --output with --resume"),
        (["zero", "randm", "--env", "point"], "Did you mean 'random'?"),
        (["zero", "random", "--env", "pont"], "Did you mean 'point'?"),
    ],
)
def test_mistakes_are_one_line(workdir, capsys, flags, message):
    before = list(workdir.iterdir())
    assert validate.main(flags) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert list(workdir.iterdir()) == before


FLAGS = ["coins:0", "coins:1", "--env", "point", "--episodes", "4", "--output", "v"]


def test_the_command_leaves_a_run_for_each_and_resumes(capsys):
    assert validate.main(FLAGS) == 0
    before = {path: path.read_bytes() for path in Path("v").glob("*/episodes.jsonl")}
    assert sorted(path.parent.name for path in before) == ["1", "2", "fresh"]
    found = written()
    assert validate.main(FLAGS) == 2
    assert "v already holds a validation; add --resume to continue" in capsys.readouterr().err
    Path("v/2", EPISODES_FILE).write_bytes(before[Path("v/2", EPISODES_FILE)][:-30])
    for path in Path("v/fresh").iterdir():
        path.unlink()
    Path("v/fresh").rmdir()
    capsys.readouterr()
    assert validate.main([*FLAGS, "--resume", "--workers", "2"]) == 0
    out = capsys.readouterr().out
    assert "v/1: complete, nothing to resume" in out
    assert "v/2: 1 of 4 episodes are missing" in out
    assert {path: path.read_bytes() for path in before} == before
    assert written() == found


def test_the_result_for_scripts_is_one_json_object(capsys):
    assert validate.main([*FLAGS, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": "v", **written()}


def test_without_an_output_the_next_free_folder_is_taken():
    for _ in range(2):
        assert validate.main([*FLAGS[:-2], "--quiet"]) == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["validation-point-001", "validation-point-002"]


def test_another_choice_is_not_resumed(capsys):
    assert validate.main(FLAGS) == 0
    before = written()
    assert validate.main(["coins:1", "coins:0", *FLAGS[2:], "--resume"]) == 2
    assert 'checkpoints: was ["coins:0", "coins:1"], is ["coins:1", "coins:0"]' in capsys.readouterr().err
    assert validate.main([*FLAGS[:-3], "5", *FLAGS[-2:], "--resume"]) == 2
    assert "episodes: was 4, is 5" in capsys.readouterr().err
    assert written() == before


def test_a_changed_checkpoint_is_not_resumed(capsys):
    assert validate.main(FLAGS) == 0
    with Path("coins.py").open("a") as file:
        file.write("# changed\n")
    assert validate.main([*FLAGS, "--resume"]) == 2
    assert "identities: was" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "5", '{"checkpoints": NaN}'])
def test_a_damaged_record_is_not_resumed(capsys, text):
    Path("v").mkdir()
    Path("v/validation.json").write_text(text)
    assert validate.main([*FLAGS, "--resume"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: v/validation.json is damaged")
    assert Path("v/validation.json").read_text() == text


def test_an_interrupted_choice_says_how_to_go_on(capsys):
    Path("interrupt").touch()
    assert validate.main(FLAGS) == 130
    (command,) = re.findall(r"^continue all with +python -m eval.validate (.*)$", capsys.readouterr().out, re.MULTILINE)
    Path("interrupt").unlink()
    assert validate.main(shlex.split(command)) == 0
    assert written()["best"] == "coins:1"


def test_errors_are_the_exit_code(monkeypatch):
    monkeypatch.setattr(point_world, "BROKEN_SEEDS", {FIRST + 2})
    assert validate.main(FLAGS) == 1


def test_the_checkpoints_must_do_the_same_task(make_checkpoint, workdir, capsys):
    """A checkpoint with another time limit has other chances."""
    a, b = make_checkpoint("bc"), make_checkpoint("bc-image")
    config = json.loads((b / "config.json").read_text())
    config["needs"]["max_episode_steps"] = 20
    (b / "config.json").write_text(json.dumps(config))
    assert validate.main([str(a), str(b), "--env", "reach", "--output", "v"]) == 2
    assert "max_episode_steps: policy 20, environment 50" in capsys.readouterr().err
    assert not Path("v").exists()


def test_a_policy_that_changes_between_two_runs_is_refused(workdir, capsys):
    """Otherwise the fresh score would be that of another policy than the chosen one."""
    code = (
        "from pathlib import Path\nimport coins\n\n\ndef Shifty(spec):\n    policy = coins.Coin(spec, '1')\n"
        "    policy.identity = str(Path('v/2').exists())\n    return policy\n"
    )
    (workdir / "shifty.py").write_text(code)
    assert validate.main(["shifty:Shifty", "coins:0", "--env", "point", "--episodes", "4", "--output", "v"]) == 2
    assert "policy 'shifty:Shifty' has changed since the validation began" in capsys.readouterr().err
