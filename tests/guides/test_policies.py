"""The guides to a first evaluation, to comparisons, and to a policy of one's own."""

import json

import pytest

from eval.runs.reading import read_run


@pytest.mark.slow
def test_first_evaluation(guide, tmp_path):
    page = guide("first_evaluation")
    page.write_files()
    printed = page.run()
    assert page.blocks("")[0] in printed  # the page shows what the first command prints
    first, again = (read_run(tmp_path / "runs" / name).results for name in ("bc", "again"))
    assert again[0].digest == first[7].digest
    assert (tmp_path / "report.html").is_file()
    assert list((tmp_path / "videos").glob("*.mp4"))
    zero, scripted, found = printed.splitlines()[-3:]
    assert zero.startswith("0.0 (")
    assert scripted.startswith("1.0 (")
    assert found.startswith("better 1.0 Interval(")


@pytest.mark.slow
def test_comparing(guide, tmp_path):
    page = guide("comparing")
    page.write_files()
    printed = page.run()
    for line in page.blocks("")[0].splitlines():  # the figures of the page are those of its commands
        assert line in printed
    assert "cannot tell" in printed
    assert json.loads((tmp_path / "runs/choice/validation.json").read_text())


@pytest.mark.slow
def test_own_policy(guide, tmp_path):
    page = guide("own_policy")
    page.write_files()
    printed = page.run()
    assert "B is within the margin" in printed
    for name in ("straight", "careful", "batched"):
        assert read_run(tmp_path / "runs" / name).successes == 50
