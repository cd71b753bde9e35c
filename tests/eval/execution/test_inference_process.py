"""One process computes the policy for all workers: the same bytes as with a model in each, whatever dies meanwhile."""

import json
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from envs.registration import find_environment
from eval import collect, robustness, rollout
from eval.execution import worker
from eval.execution.worker import PortableJob
from eval.runs.record import RunRecord
from simscaleai.errors import SimScaleError

SEED = 3_000_000_500
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
FEW = ["--env", "reach", "--episodes", "6", "--seed", str(SEED)]


@pytest.fixture
def run_shape(tmp_path, monkeypatch):
    """Runs a model in some shape; returns the run's folder."""
    monkeypatch.chdir(tmp_path)
    number = iter(range(100))

    def run(model, *flags, code=0, few=FEW):
        folder = Path(f"run-{next(number)}")
        assert rollout.main(["--model", str(model), *few, *flags, "--output", str(folder)]) == code
        return folder

    return run


@pytest.fixture
def run_bytes(run_shape):
    """The same; returns the bytes of its episodes."""
    return lambda *shape, **options: (run_shape(*shape, **options) / "episodes.jsonl").read_bytes()


@pytest.mark.parametrize(
    "name",
    ["vla-diffusion", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bc", "bc-image", "vla-mlp"))],
)
def test_one_process_gives_the_bytes_of_a_model_in_each_worker(run_bytes, make_checkpoint, name):
    checkpoint = make_checkpoint(name)
    reference = run_bytes(checkpoint, "--num-envs", "6")
    assert len({json.loads(line)["digest"] for line in reference.splitlines()}) == 6
    assert run_bytes(checkpoint, "--num-envs", "2", "--device", "cpu", "--workers", "2") == reference


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_GPU)])
@pytest.mark.parametrize("name", ["bc-image", "vla-mlp", "vla-diffusion"])
def test_every_shape_gives_the_same_bytes(run_bytes, make_checkpoint, name, device):
    model = make_checkpoint(name)
    shapes = [
        (f"--workers={workers}", f"--num-envs={num_envs}", f"--device={device}")
        for workers, num_envs in [(1, 1), (1, 3), (1, 8), (2, 3), (3, 2)]
    ]
    if device == "cpu":
        shapes.append(())
    assert len({run_bytes(model, *shape) for shape in shapes}) == 1


def test_the_record_says_where_the_policy_computed_and_another_device_is_refused(run_shape, make_checkpoint, capsys):
    checkpoint = make_checkpoint("bc")
    folder = run_shape(checkpoint, "--device", "cpu")
    record = RunRecord.read(folder)
    assert (record.resolved.device, record.resolved.tile) == ("cpu", 8)
    resume = ["--model", str(checkpoint), *FEW, "--output", str(folder), "--resume"]
    assert rollout.main(resume) == 0  # the same bits without --device
    on_gpu = {"device": "cuda", "name": "some GPU", "cuda": "13.0", "tile": 64}
    replace(record, fingerprint={**record.fingerprint, "inference": on_gpu}).write(folder)
    assert rollout.main(resume) == 2
    error = capsys.readouterr().err
    assert "cannot resume" in error
    assert 'fingerprint.inference: was {"device": "cuda", "name": "some GPU"' in error


class NoEpisodes(PortableJob):
    """A job for machines of a cluster that runs nothing."""

    registration = find_environment("reach")

    def files_of(self, episode_index):
        return []

    def run(self, plan, reporter, pulse):
        """Run nothing."""


@pytest.mark.parametrize("here", ["GPU A", "GPU B"])
def test_a_machine_of_a_cluster_with_another_gpu_is_refused(monkeypatch, here):
    job = NoEpisodes(num_envs=1, terminate_on_success=True, folder=Path(), device="cuda")
    job = replace(job, machine=job.conditions({"machine": "x86_64", "inference": {"name": "GPU A"}}))
    monkeypatch.setattr(worker, "device_entries", lambda device: {"inference": {"name": here}})
    differs = pytest.raises(SimScaleError, match=r'inference.name: is "GPU A".*, here "GPU B"')
    with differs if here == "GPU B" else nullcontext():
        job.check_device()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_one_line(run_shape, make_checkpoint, capsys):
    run_shape(make_checkpoint("bc"), "--device", "cuda", code=2)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(r"error: --device cuda needs a GPU that torch can use; .* or use --device cpu", line)


@pytest.mark.parametrize("model", ["scripted", "policies.scripted.controls:ZeroPolicy"])
def test_a_policy_without_weights_has_nothing_to_place(run_shape, capsys, model):
    run_shape(model, "--device", "cpu", code=2)
    assert f"and {model!r} computes in its own code; leave out --device" in capsys.readouterr().err


@pytest.mark.slow
def test_the_expert_of_a_battery_computes_in_its_workers(tmp_path, make_checkpoint, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--model", str(make_checkpoint("bc")), "--env", "reach", "--axes", "state.noise", "--levels", "2"]
    shape = ["--episodes", "2", "--seed", str(SEED), "--device", "cpu", "--workers", "2", "--output", "battery"]
    assert robustness.main([*words, *shape]) == 0
    assert RunRecord.read(Path("battery")).resolved.device == "cpu"
    assert RunRecord.read(Path("battery/expert")).resolved.device is None


@pytest.mark.slow
def test_a_collection_has_the_bytes_of_one_with_a_model_in_each_worker(tmp_path, make_checkpoint, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [
        "--model",
        str(make_checkpoint("vla-diffusion")),
        "--env",
        "reach",
        "--episodes",
        "4",
        "--keep-failures",
        "--image-size",
        "40",
    ]
    assert collect.main([*words, "--expert", "scripted", "--output", "plain"]) == 0
    assert collect.main([*words, "--expert", "scripted", "--output", "one", "--workers", "2", "--device", "cpu"]) == 0
    files = sorted(path.relative_to("plain") for path in Path("plain/episodes").iterdir())
    assert len(files) == 4
    for file in files:
        assert Path("one", file).read_bytes() == Path("plain", file).read_bytes()
