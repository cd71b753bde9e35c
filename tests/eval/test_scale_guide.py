"""The commands of the guide to many machines, as they stand there, with a loop in place of Slurm."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from eval.rollout import RolloutConfig
from simscaleai.command_line import parse

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/guides/scale.md").read_text()


def test_the_command_with_an_inference_process_is_one_of_ours():
    command = re.search(r"^python -m eval.rollout (.*--device cpu)$", GUIDE, re.MULTILINE)[1]
    config = parse(RolloutConfig, "eval.rollout", command.split())
    config.check()
    assert (config.device, config.workers) == ("cpu", 2)


@pytest.mark.slow
def test_the_job_array_of_the_guide_runs_and_merges(tmp_path):
    _, script, commands = re.findall(r"^```(?:bash)?\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    (tmp_path / "shard.sh").write_text(script)
    submit, merge = commands.splitlines()
    assert submit == "sbatch --wait shard.sh"
    loop = re.search(r"`(for n in .*?; done)`", GUIDE)[1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": path}
    words = ["bash", "-euc", f"{loop}\n{merge}"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^success once +400/400 ", done.stdout, re.MULTILINE)
    assert (tmp_path / "runs/whole/run.json").is_file()
