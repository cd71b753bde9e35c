"""Collections whose episodes are perturbed."""

import json

from eval.collect import main

RANGES = ("light.intensity=0..3", "camera.azimuth=2")


def collected(folder, *flags):
    arguments = ["--env", "reach", "--episodes", "4", "--image-size", "16", "--quiet", "--output", str(folder)]
    assert main([*arguments, "--perturb", *RANGES, *flags]) == 0
    return [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]


def test_every_episode_draws_its_magnitude_from_the_range(tmp_path):
    drawn = [line["perturbation"] for line in collected(tmp_path / "data")]
    assert {each["camera.azimuth"] for each in drawn} == {15.0}
    assert len({each["light.intensity"] for each in drawn}) == 4
    assert all(0 <= each["light.intensity"] <= 0.75 for each in drawn)


def test_the_data_do_not_depend_on_the_number_of_processes_and_can_be_replayed(tmp_path):
    assert collected(tmp_path / "one") == collected(tmp_path / "two", "--num-envs", "3", "--workers", "2")
    assert main(["--verify", str(tmp_path / "two"), "--quiet"]) == 0
    changed = (tmp_path / "two" / "episodes.jsonl").read_text().replace('"light.intensity"', '"light.direction"')
    (tmp_path / "two" / "episodes.jsonl").write_text(changed)
    assert main(["--verify", str(tmp_path / "two"), "--quiet"]) == 1  # replayed under another light
