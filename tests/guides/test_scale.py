"""The guide to many machines, with a loop in place of Slurm."""

import re

import pytest


@pytest.mark.slow
def test_the_job_array_of_the_guide_runs_and_merges(guide, tmp_path):
    page = guide("scale")
    script, commands = page.blocks("bash", "")
    (tmp_path / "shard.sh").write_text(script)
    submit, merge = commands.splitlines()
    assert submit == "sbatch --wait shard.sh"
    loop = re.search(r"`(for n in .*?; done)`", page.text)[1]
    assert re.search(r"^success once +400/400 ", page.run(f"{loop}\n{merge}"), re.MULTILINE)
    assert (tmp_path / "runs/whole/run.json").is_file()
