"""The guide to many machines, with a loop in place of Slurm."""

import re

import pytest

from eval.rollout import RolloutConfig
from simscaleai.command_line import parse


def test_the_command_with_an_inference_process_is_one_of_ours(guide):
    command = re.search(r"^python -m eval.rollout (.*--device cpu)$", guide("scale").text, re.MULTILINE)[1]
    config = parse(RolloutConfig, "eval.rollout", command.split())
    config.check()
    assert (config.device, config.workers) == ("cpu", 2)


@pytest.mark.slow
def test_the_job_array_of_the_guide_runs_and_merges(guide, tmp_path):
    page = guide("scale")
    script = next(each for each in page.blocks("bash") if "SBATCH" in each)
    submit, merge = next(each for each in page.blocks("") if "sbatch" in each).splitlines()
    (tmp_path / "shard.sh").write_text(script)
    assert submit == "sbatch --wait shard.sh"
    loop = re.search(r"`(for n in .*?; done)`", page.text)[1]
    assert re.search(r"^success once +400/400 ", page.run(f"{loop}\n{merge}"), re.MULTILINE)
    assert (tmp_path / "runs/whole/run.json").is_file()


@pytest.mark.slow
def test_the_shards_of_a_battery_and_of_a_collection_run_and_merge(guide, tmp_path):
    page = guide("scale")
    told = page.run(next(each for each in page.blocks("bash") if "eval.collect" in each))
    assert re.search(r"^dataset +data/whole: 40 episodes", told, re.MULTILINE)
    assert (tmp_path / "runs/battery/report.html").is_file()
    assert (tmp_path / "runs/battery/expert/run.json").is_file()
