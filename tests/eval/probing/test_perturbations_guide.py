"""The guide to perturbations: its table holds the axes of probes, its commands and its example run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from envs.registration import find_environment
from eval.probing.probe_axes import axes_of

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs/guides/perturbations.md").read_text()
OF_PROBES = GUIDE.partition("## Axes of an environment")[0]


def test_the_table_holds_every_axis_with_unit_and_levels():
    spec = find_environment("reach").offer()
    of_scene = {axis.name for axis in spec.axes}
    axes = [axis for axis in axes_of(spec).values() if axis.name not in of_scene and axis.name.count(".") < 2]
    expected = [(axis.name, axis.unit, " ".join(f"{size:g}" for size in axis.magnitudes)) for axis in axes]
    rows = re.findall(r"^\| `([\w.]+)` \| (\S+) \| ([\d. ]+) \|", OF_PROBES, re.MULTILINE)
    assert sorted(rows) == sorted(expected)


def test_the_axes_of_images_stand_in_the_order_in_which_they_apply():
    from eval.probing.cameras import FEED_AXES
    from eval.probing.corruptions import CORRUPTIONS

    names = re.findall(r"^\| `((?:feed|image)\.\w+)`", GUIDE, re.MULTILINE)
    assert names == [axis.name for axis in (*FEED_AXES, *(each.axis for each in CORRUPTIONS))]


@pytest.mark.slow
def test_the_commands_and_the_example_run(tmp_path):
    commands = re.search(r"^```bash\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)[1]
    example = re.search(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)[1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": path}
    for words in (["bash", "-euc", commands], [sys.executable, "-c", example]):
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "light.intensity stop" in done.stdout
    assert (tmp_path / "late.mp4").is_file()
