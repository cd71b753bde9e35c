"""From rollout to comparison and report: the commands that they print give the very episodes that they stand for."""

import re
import shlex
from html import unescape
from pathlib import Path

import pytest

from eval import compare, rollout
from eval.report import __main__ as report
from eval.runs.reading import read_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder with a run that fails and one that succeeds, on the same seeds."""
    folder = tmp_path_factory.mktemp("runs")
    for model in ("random", "scripted"):
        few = ["--env", "reach", "--episodes", "4", "--seed", "3000000000", "--quiet"]
        assert rollout.main(["--model", model, *few, "--output", str(folder / model)]) == 0
    return folder


def digests(folder):
    return {result.seed: result.digest for result in read_run(folder).results}


def test_the_commands_of_a_comparison_run_the_discordant_episodes_again(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert compare.main([str(runs / "random"), str(runs / "scripted"), "--quiet"]) in (0, 2)
    compare.main([str(runs / "random"), str(runs / "scripted")])
    commands = dict(re.findall(r"^replay ([AB]) +python -m eval\.rollout (.*)$", capsys.readouterr().out, re.MULTILINE))
    for name, folder in (("A", "random"), ("B", "scripted")):
        assert rollout.main([*shlex.split(commands[name]), "--output", folder, "--quiet"]) == 0
        again, before = digests(Path(folder)), digests(runs / folder)
        assert again
        assert again == {seed: before[seed] for seed in again}


def test_the_commands_of_a_report_run_the_episode_beside_them_again(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert report.main([str(runs / "random"), "--output", "page.html"]) == 0
    commands = re.findall(r'data-command="([^"]*)"', Path("page.html").read_text())
    assert len(commands) == 4
    assert rollout.main([*shlex.split(unescape(commands[2]))[3:], "--output", "again", "--quiet"]) == 0
    (digest,) = digests(Path("again")).values()
    assert digest == list(digests(runs / "random").values())[2]
