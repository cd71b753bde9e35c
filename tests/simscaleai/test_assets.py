"""Scenes and checkpoints are found wherever the packages are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The packages as `uv --link-mode symlink` installs them: folders of links to files that lie elsewhere."""
    store, site = tmp_path / "store", tmp_path / "site"
    store.mkdir()
    sources = [path for package in ("envs", "eval", "policies", "simscaleai") for path in (ROOT / package).rglob("*.*")]
    places = {path.relative_to(ROOT): path for path in sources if path.is_file() and path.suffix != ".pyc"}
    for number, (place, path) in enumerate(places.items()):
        (site / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, store / f"{number}")
        (site / place).symlink_to(store / f"{number}")
    assets = {path.relative_to(ROOT / "assets"): path for path in (ROOT / "assets").rglob("*") if path.is_file()}
    assets[Path("published.jsonl")] = ROOT / "benchmarks" / "results" / "published.jsonl"
    for place, path in assets.items():
        (site / "simscaleai" / "assets" / place).parent.mkdir(parents=True, exist_ok=True)
        (site / "simscaleai" / "assets" / place).symlink_to(path)
    return site


def test_packages_made_of_links_work(installed: Path, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(installed)}
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    listing = run("-m", "policies")
    assert "vla-pick-place" in listing
    assert "95 % interval" in listing
    assert "usage" in run("-m", "eval.rollout", "--help")
    place = run("-c", "from simscaleai.assets import asset_path; print(asset_path('reach.xml'))").strip()
    assert place == str(installed / "simscaleai" / "assets" / "reach.xml")
