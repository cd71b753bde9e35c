"""The guide to robustness."""

import pytest


@pytest.mark.slow
def test_the_commands_of_the_guide_run(guide, tmp_path):
    page = guide("robustness")
    printed = page.run(page.blocks("bash")[0])
    assert "light.intensity" in printed
    assert "not covered" in printed
    assert (tmp_path / "robust.html").is_file()
