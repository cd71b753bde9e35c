"""Collecting: the same files whatever the shape and however often it was killed, in any environment."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import point_world
import pytest
from safetensors.numpy import load_file

from envs.registration import Registration, find_environment, register_environment
from eval import collect
from eval.demonstrations.verification import verify_dataset
from policies.base import Policy
from policies.registry import make_policy
from simscaleai.data import Dataset
from simscaleai.data.episode_list import read_discarded
from simscaleai.training.conditions import check_success
from simscaleai.training.config import TrainConfig

ROOT = Path(__file__).resolve().parent.parent.parent
REACH = ["--env", "reach", "--episodes", "5", "--cameras", "--action-noise", "0.2"]
SOME_FAIL = ["--env", "pick-place", "--episodes", "7", "--action-noise", "0.6", "--cameras"]
"""Of these, some episodes are kept and some discarded."""

pytestmark = pytest.mark.usefixtures("workdir")


def contents(folder):
    """Returns every file below `folder` with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def kept_and_discarded(tmp_path_factory):
    """A dataset of `SOME_FAIL` that was collected in one go."""
    folder = tmp_path_factory.mktemp("collected") / "dataset"
    assert collect.main([*SOME_FAIL, "--output", str(folder)]) == 0
    assert 0 < len(Dataset(folder).episodes) < 7
    assert len(Dataset(folder).episodes) + len(read_discarded(folder)) == 7
    return folder


@pytest.mark.parametrize("shape", [["--num-envs", "2"], ["--num-envs", "2", "--workers", "2"]])
def test_files_are_the_same_for_any_shape(kept_and_discarded, shape):
    assert collect.main([*SOME_FAIL, "--output", "other", *shape]) == 0
    assert contents("other") == contents(kept_and_discarded)


@pytest.mark.slow
def test_images_are_the_same_for_any_shape():
    flags = ["--env", "pick-place-language", "--episodes", "6", "--image-size", "32"]
    for name, shape in (("a", ["1", "1"]), ("b", ["6", "1"]), ("c", ["2", "3"])):
        assert collect.main([*flags, "--output", name, "--num-envs", shape[0], "--workers", shape[1]]) == 0
    assert contents("a") == contents("b") == contents("c")


@pytest.fixture
def policy_module(workdir, monkeypatch):
    """Writes a module with a scripted expert whose `predict` first runs `body`; returns its name for --model."""

    def write(name, body, env_id="SimScale/PickPlace-v0"):
        (workdir / f"{name}.py").write_text(
            "import os, pathlib, signal\n"
            "from policies.scripted.experts import EXPERTS\n\n\n"
            f"class Expert(EXPERTS[{env_id!r}]):\n"
            "    calls = 0\n\n"
            "    def predict(self, observation, slots):\n"
            "        self.calls += 1\n"
            f"        {body}\n"
            "        return super().predict(observation, slots)\n"
        )
        monkeypatch.syspath_prepend(str(workdir))
        return f"{name}:Expert"

    return write


@pytest.fixture
def deadly(policy_module):
    """A scripted expert that kills its process once, at its 250th step."""
    killing = "pathlib.Path('killed').touch() or os.kill(os.getpid(), signal.SIGKILL)"
    return [
        "--model",
        policy_module("deadly", f"self.calls == 250 and not pathlib.Path('killed').exists() and ({killing})"),
    ]


def test_a_killed_collection_is_a_dataset_and_resumes_to_the_same_files(deadly, workdir):
    command = [sys.executable, "-m", "eval.collect", *SOME_FAIL, *deadly, "--num-envs", "2", "--output", "broken"]
    paths = os.pathsep.join([str(ROOT), str(workdir)])
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    kept, discarded = len(Dataset("broken").episodes), len(read_discarded(Path("broken")))
    assert kept > 0
    assert discarded > 0
    assert kept + discarded < 7
    # What a kill may leave besides: half a line, and half a file.
    for name in ("episodes.jsonl", "discarded.jsonl"):
        with Path("broken", name).open("a") as file:
            file.write('{"episode_index": 6, "se')
    Path("broken/episodes/.episode_000006.safetensors.99.tmp").write_bytes(b"half")
    Path("broken/.dataset.json.99.tmp").write_bytes(b"half")
    assert collect.main([*SOME_FAIL, *deadly, "--output", "broken", "--resume"]) == 0
    assert collect.main([*SOME_FAIL, *deadly, "--output", "whole"]) == 0
    assert contents("broken") == contents("whole")


@pytest.mark.slow
def test_a_collection_whose_parent_was_killed_resumes_to_the_same_files(workdir):
    flags = ["--env", "pick-place", "--episodes", "40", "--action-noise", "0.5", "--image-size", "32"]
    command = [sys.executable, "-m", "eval.collect", *flags, "--num-envs", "3", "--workers", "2", "--output", "broken"]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
    index = Path("broken/episodes.jsonl")
    while not (index.exists() and index.read_text().count("\n") >= 5):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert 5 <= len(Dataset("broken").episodes) < 30
    assert verify_dataset(Path("broken")).differences == {}
    assert collect.main([*flags, "--output", "broken", "--resume", "--workers", "2"]) == 0
    assert collect.main([*flags, "--output", "whole"]) == 0
    assert contents("broken") == contents("whole")


def test_resuming_what_is_complete_says_the_same_again(kept_and_discarded, capsys):
    shutil.copytree(kept_and_discarded, "copy")
    capsys.readouterr()
    assert collect.main([*SOME_FAIL, "--output", "copy", "--resume"]) == 0
    out = capsys.readouterr().out
    assert "0 of 7 episodes are missing" in out
    kept = len(Dataset("copy").episodes)
    assert f"{kept}/7" in out
    assert f"{7 - kept}/7" in out
    assert contents("copy") == contents(kept_and_discarded)


def test_more_episodes_extend_a_dataset_and_fewer_are_refused(capsys):
    more = [*REACH[:3], "8", *REACH[4:]]
    assert collect.main([*REACH, "--output", "grown"]) == 0
    assert collect.main([*more, "--output", "grown", "--resume"]) == 0
    assert collect.main([*more, "--output", "whole"]) == 0
    assert contents("grown") == contents("whole")
    assert collect.main([*REACH, "--output", "grown", "--resume"]) == 2
    assert "resume it with --episodes of at least 8" in capsys.readouterr().err
    assert contents("grown") == contents("whole")


def test_resume_starts_what_was_not_begun():
    assert collect.main([*REACH, "--output", "new", "--resume"]) == 0
    Path("empty").mkdir()
    Path("empty/.dataset.json.7.tmp").write_bytes(b"ha")  # killed before there was anything
    assert collect.main([*REACH, "--output", "empty", "--resume"]) == 0
    assert contents("empty") == contents("new")


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--seed", "1000000007"], "provenance.seed: was 1000000000, is 1000000007"),
        (["--action-noise", "0.1"], "provenance.action_noise: was 0.2, is 0.1"),
        (["--keep-failures"], "provenance.keep_failures: was false, is true"),
        (["--model", "random", "--expert", "scripted"], 'provenance.expert: was null, is "scripted"'),
        (["--env", "pick-place"], "needs.environments.SimScale/PickPlace-v0: was null"),
        (["--cameras", "front"], "needs.cameras.front: was null, is [64, 64]"),
    ],
)
def test_resuming_under_other_settings_is_refused(capsys, flags, text):
    assert collect.main([*REACH[:2], "--episodes", "1", *REACH[4:], "--output", "d"]) == 0
    before = contents("d")
    assert collect.main([*REACH, *flags, "--output", "d", "--resume"]) == 2
    assert text in capsys.readouterr().err
    assert contents("d") == before


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_full_disk_is_one_clear_line_and_costs_nothing(monkeypatch, capsys, workers):
    resource = pytest.importorskip("resource")
    assert collect.main([*REACH, "--output", "whole"]) == 0
    largest = max(map(len, contents("whole/episodes").values()))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    disposition = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest - 1, before[1]))
    try:
        assert collect.main([*REACH, "--output", "d", "--workers", workers]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, disposition)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: cannot write d/")
    assert "File too large" in error
    assert collect.main([*REACH, "--output", "d", "--resume"]) == 0
    assert contents("d") == contents("whole")


def test_a_policy_whose_code_has_changed_does_not_resume(policy_module, capsys):
    flags = [*SOME_FAIL[:2], "--episodes", "1", "--cameras", "--output", "d"]
    assert collect.main([*flags, "--model", policy_module("changing", "pass")]) == 0
    assert collect.main([*flags, "--model", policy_module("changing", "pass; pass"), "--resume"]) == 2
    assert "provenance.identities.policy: was" in capsys.readouterr().err


def test_an_interrupted_collection_says_how_to_continue(policy_module, capsys):
    body = "if self.calls == 12: raise KeyboardInterrupt"
    model = policy_module("interrupting", body, "SimScale/Reach-v0")
    assert collect.main([*REACH, "--model", model, "--num-envs", "2", "--output", "d"]) == 130
    out = capsys.readouterr().out
    kept = len(Dataset("d").episodes)
    assert 0 < kept < 5
    assert f"d: {kept} episodes so far" in out
    assert "python -m eval.collect --env reach --output d --episodes 5" in out
    assert "--resume" in out


def test_two_collections_do_not_write_into_one_folder(capsys):
    fcntl = pytest.importorskip("fcntl")
    Path("d").mkdir()
    descriptor = os.open("d", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert collect.main([*REACH, "--output", "d"]) == 2
    os.close(descriptor)
    assert "another process is writing to d" in capsys.readouterr().err


def spoil(name, text):
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (spoil("dataset.json", '{"format": "x", "form'), "dataset.json is damaged"),
        (spoil("dataset.json", '{"format": "other", "format_version": 1}'), "is other version 1"),
        (spoil("dataset.json", '{"format": "simscaleai-dataset", "format_version": 99}'), "version 99"),
        (spoil("episodes.jsonl", "{}\n"), "episodes.jsonl line 1 is damaged"),
        (spoil("discarded.jsonl", "[1, 2]\n"), "discarded.jsonl is damaged"),
        (lambda folder: (folder / "episodes.jsonl").write_bytes(b"\xff\xfe\n"), "episodes.jsonl line 1 is damaged"),
        (lambda folder: (folder / "dataset.json").unlink(), "is not empty"),
    ],
)
@pytest.mark.parametrize("flags", [["--resume"], []])
def test_what_is_there_is_never_overwritten(kept_and_discarded, capsys, damage, text, flags):
    shutil.copytree(kept_and_discarded, "d")
    damage(Path("d"))
    before = contents("d")
    assert collect.main([*SOME_FAIL, "--output", "d", *flags]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert (text if flags else "not empty") in error[0]
    assert contents("d") == before


def test_a_file_in_place_of_the_folder_is_left_alone(capsys):
    Path("d").write_text("mine")
    for flags in ([], ["--resume"]):
        assert collect.main([*REACH, "--output", "d", *flags]) == 2
        assert "d is a file" in capsys.readouterr().err
    assert Path("d").read_text() == "mine"


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--seed", "999998"], "got 999998 to 1000002: 0 to 999999 are reserved for evaluation"),
        (["--seed", "2000000000"], "2000000000 to 2999999999 are reserved for evaluation"),
        (["--seed", "1999999998"], "got 1999999998 to 2000000002: 2000000000 to 2999999999 are reserved"),
        (["--timeout", "0"], "expected a --timeout above 0 s"),
        (["--image-size", "0", "--cameras", "front"], "expected an --image-size of at least 1 px, got 0"),
        (["--cameras", "front", "front"], "expected each of --cameras once"),
        (["--cameras", "fornt"], "Did you mean 'front'?"),
        (["--phrasings", "grammar"], "--phrasings grammar is for pick-place and pick-place-language, not for SimScale"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(capsys, workdir, flags, text):
    assert collect.main([*REACH, *flags, "--output", "d"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert text in line
    assert not Path("d").exists()


@pytest.mark.parametrize("env", ["pick-place", "pick-place-language"])
def test_instructions_of_the_grammar_are_recorded_and_verified(env):
    flags = ["--env", env, "--episodes", "6", "--cameras"]
    assert collect.main([*flags, "--phrasings", "grammar", "--output", "d"]) == 0
    assert collect.main([*flags, "--output", "plain"]) == 0
    dataset, plain = Dataset("d"), Dataset("plain")
    assert dataset.provenance[0]["phrasings"] == "grammar"
    assert "phrasings" not in plain.provenance[0]
    for number, (told, otherwise) in enumerate(zip(dataset.episodes, plain.episodes, strict=True)):
        assert told.metadata["target"] == otherwise.metadata["target"]
        assert told.metadata["target"] in told.metadata["instruction"].split()
        assert told.metadata["instruction"] != otherwise.metadata["instruction"]
        np.testing.assert_array_equal(dataset.episode(number)["action"], plain.episode(number)["action"])
    assert verify_dataset(Path("d"), progress=False).differences == {}


def test_a_collection_that_kept_nothing_is_no_success(capsys):
    flags = ["--env", "reach", "--episodes", "2", "--cameras", "--model", "zero", "--output", "d"]
    assert collect.main(flags) == 1
    out = capsys.readouterr().out
    assert "warning: no episode was kept, d cannot be trained on; try --keep-failures" in out
    assert collect.main([*flags, "--resume"]) == 1
    assert len(read_discarded(Path("d"))) == 2


# What is collected


def test_labels_are_clean_and_images_and_provenance_are_stored(capsys):
    flags = ["--env", "pick-place", "--episodes", "4", "--image-size", "32", "--action-noise", "0.3"]
    assert collect.main([*flags, "--output", "noisy"]) == 0
    dataset = Dataset("noisy")
    kept = len(dataset.episodes)
    assert re.search(rf"discarded +{4 - kept}/4", capsys.readouterr().out)
    assert {episode.metadata["seed"] for episode in dataset.episodes} <= set(range(1_000_000_000, 1_000_000_004))
    assert dataset.needs.cameras == {"front": (32, 32), "wrist": (32, 32)}
    episode = load_file(next(Path("noisy/episodes").iterdir()))
    noise = episode["executed_action"] - episode["action"]
    free = np.abs(episode["executed_action"][:, :3]) < 1
    assert 0.15 < noise[:, :3][free].std() < 0.45
    assert (noise[:, 3] == 0).all()
    assert np.abs(episode["executed_action"]).max() <= 1
    assert episode["observation.images.wrist"].shape[1:] == (32, 32, 3)
    assert episode["observation.images.front"].std() > 1
    provenance = json.loads(Path("noisy/dataset.json").read_text())["provenance"]
    assert provenance["action_noise"] == 0.3
    assert len(provenance["identities"]["policy"]) == 64


def test_an_expert_labels_what_another_policy_does_and_every_episode_is_kept():
    flags = ["--env", "pick-place", "--episodes", "2", "--cameras", "--model", "random", "--expert", "scripted"]
    assert collect.main([*flags, "--output", "relabelled"]) == 0
    dataset = Dataset("relabelled")
    assert [(e.metadata["success"], e.metadata["relabelled"], e.length) for e in dataset.episodes] == [
        (False, True, 150)
    ] * 2
    expert = make_policy("scripted", spec=find_environment("pick-place").offer())
    rows = {key: dataset.vectors(f"observation.{key}") for key in ("state", "environment_state")}
    expected = expert.predict(rows, np.arange(300))[:, 0]
    np.testing.assert_array_equal(dataset.vectors("action"), expected)
    assert np.abs(dataset.vectors("executed_action") - expected).mean() > 0.3
    check_success(
        TrainConfig(model="bc", dataset=(Path("relabelled"),), output=Path("x")), dataset
    )  # may be trained on


def test_an_expert_that_sees_gets_its_own_observations(make_checkpoint):
    """A learned expert reads cameras and the instruction, the acting one simulator truth; neither gets the other's."""
    expert = make_checkpoint("vla-mlp")
    flags = ["--env", "reach", "--episodes", "2", "--image-size", "40", "--expert", str(expert)]
    for name, shape in (("a", []), ("b", ["--num-envs", "1", "--workers", "2"])):
        assert collect.main([*flags, *shape, "--output", name]) == 0
    assert contents("a") == contents("b")
    dataset = Dataset("a")
    assert len(dataset.episodes) == 2
    assert np.abs(dataset.vectors("action") - dataset.vectors("executed_action")).mean() > 0.01


def test_an_expert_that_needs_images_of_another_size_is_refused(make_checkpoint, capsys):
    flags = ["--env", "reach", "--episodes", "2", "--expert", str(make_checkpoint("vla-mlp"))]
    assert collect.main([*flags, "--output", "d"]) == 2
    assert "size of camera front" in capsys.readouterr().err
    assert not Path("d").exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_expert_that_raises_ends_the_collection_in_one_line(policy_module, capsys, workers):
    expert = policy_module("raising", "if self.calls == 14: raise RuntimeError('no\\nidea')", "SimScale/Reach-v0")
    flags = [*REACH, "--num-envs", "1", "--workers", workers, "--expert", expert, "--output", "d", "--quiet"]
    assert collect.main(flags) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r"error: the expert 'raising:Expert' failed in episode \d \(seed 100000000\d\): RuntimeError: no idea; "
        r"finished episodes are kept",
        line,
    )
    assert 0 < len(Dataset("d").episodes) < 5


# Any environment


class ToOrigin(Policy):
    """Acts in the point world without camera, instruction and goal."""

    def __init__(self, spec):
        self.needs = spec.needs("position")

    def predict(self, observation, slots):
        return np.clip(-2 * observation["position"], -1, 1)[:, None]


BARE = replace(
    point_world.SPEC,
    env_id="Test/BarePoint-v0",
    vectors={"position": point_world.SPEC.vectors["position"]},
    cameras={},
    film_cameras=(),
    has_instructions=False,
)


@pytest.fixture
def bare_point(point_environment):
    """Registers the point world without camera and instruction as `bare-point`."""

    def make(num_slots, needs, terminate_on_success, max_episode_steps):
        return point_world.PointEnv(num_slots, needs, terminate_on_success, max_episode_steps, spec=BARE)

    register_environment(Registration("bare-point", BARE.env_id, lambda: BARE, make))


def test_an_environment_without_camera_and_instruction(bare_point, monkeypatch):
    monkeypatch.setattr(point_world, "ToOrigin", ToOrigin, raising=False)
    flags = ["--env", "bare-point", "--model", "point_world:ToOrigin", "--episodes", "6", "--action-noise", "0.3"]
    assert collect.main([*flags, "--output", "d"]) == 0
    dataset = Dataset("d")
    assert len(dataset.episodes) == 6
    assert set(dataset.array_types) == {"observation.position", "action", "executed_action"}
    noise = dataset.vectors("executed_action") - dataset.vectors("action")
    assert noise.any(axis=0).all()  # no number of this action is a gripper's
    assert {episode.metadata["environment"] for episode in dataset.episodes} == {"Test/BarePoint-v0"}
    assert verify_dataset(Path("d")).differences == {}


def test_cameras_are_by_default_those_of_the_environment(point_environment):
    flags = ["--env", "point", "--model", "point_world:Homing", "--episodes", "3", "--image-size", "6"]
    assert collect.main([*flags, "--output", "d"]) == 0
    assert Dataset("d").needs.cameras == {"front": (6, 6)}
    finding = verify_dataset(Path("d"))
    assert (finding.differences, finding.images) == ({}, Dataset("d").num_frames)
    assert collect.main([*flags, "--cameras", "--output", "blind"]) == 0
    assert Dataset("blind").needs.cameras == {}


@pytest.mark.parametrize("flags", [["--output", "full"], ["--output", "file"], ["--output", "full", "--resume"]])
def test_an_output_that_cannot_be_is_refused_before_any_work(monkeypatch, capsys, flags):
    monkeypatch.setattr("eval.execution.collection.build_policy", None)
    Path("file").touch()
    Path("full").mkdir()
    Path("full/file").touch()
    assert collect.main([*REACH, *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r"full is not empty|file is a file", line)


def test_an_error_while_the_dataset_is_closed_does_not_hide_the_first_one(policy_module, capsys):
    """Without the files of the episodes, the dataset cannot be closed."""
    remove = "[path.unlink() for path in pathlib.Path('d/episodes').glob('*.safetensors')]"
    model = policy_module("removing", f"if self.calls == 12: {remove}; raise KeyboardInterrupt", "SimScale/Reach-v0")
    assert collect.main([*REACH, "--model", model, "--num-envs", "2", "--output", "d"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted"
