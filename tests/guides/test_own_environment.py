"""The guide to an environment of one's own."""

import pytest

from eval.runs.reading import read_run


@pytest.mark.slow
def test_the_commands_of_the_guide_run(guide, tmp_path):
    page = guide("own_environment")
    page.write_files()
    printed = page.run()
    assert "all promises are kept" in printed
    assert "B is within the margin" in printed
    assert (tmp_path / "report.html").is_file()
    assert read_run(tmp_path / "runs/careful").successes == 100
    easy, hard = read_run(tmp_path / "runs/tasks").record.summary.tasks.values()
    assert (easy.episodes, hard.episodes) == (50, 50)
