"""The files of receipts: gathered at the end of a run, readable for every version, damage in one clear line."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from eval.episodes.results import ResultsError
from eval.runs.receipts import (
    ReceivedFeature,
    collect_receipts,
    make_receipt,
    read_receipts,
    received_digest,
    write_receipt,
)
from simscaleai.contract import Feature, Layout, Needs

NEEDS = Needs(
    vectors={"pose": Layout((Feature("place", 2, "m", "world"), Feature("angle", 1, "rad", "world")))},
    cameras={"front": (2, 4)},
)


def receipt(index, seed=None, fill=1):
    received = {"pose": np.full(3, fill, np.float32), "front": np.full((2, 4, 3), fill, np.uint8)}
    return make_receipt(index, index + 7 if seed is None else seed, "go", received, NEEDS)


def test_the_digest_covers_every_array_and_the_instruction():
    received = {"state": np.zeros(2, np.float32), "front": np.zeros((2, 2, 3), np.uint8)}
    others = [
        (received, "go"),
        (received, "stop"),
        (received | {"state": np.array([0, 1], np.float32)}, "go"),
        (received | {"front": np.full((2, 2, 3), 1, np.uint8)}, "go"),
        (received | {"front": np.zeros((2, 1, 6), np.uint8)}, "go"),
        ({"state": received["state"], "wrist": received["front"]}, "go"),
    ]
    assert len({received_digest(*other) for other in others}) == len(others)


def test_receipts_are_gathered_in_order_and_hidden_files_go(tmp_path):
    for index in (1, 0):
        write_receipt(tmp_path, receipt(index))
    assert read_receipts(tmp_path) == []
    collect_receipts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["receipts.json"]
    assert read_receipts(tmp_path) == [receipt(0), receipt(1)]
    place, angle = read_receipts(tmp_path)[0].vectors["pose"]
    assert (place.values, place.unit, angle.values) == ([1.0, 1.0], "m", [1.0])


def test_a_resumed_run_keeps_earlier_receipts_and_replaces_those_of_episodes_that_ran_again(tmp_path):
    for index in (0, 1):
        write_receipt(tmp_path, receipt(index))
    collect_receipts(tmp_path)
    again = receipt(1, fill=2).with_answer(np.ones((2, 4), np.float32))
    write_receipt(tmp_path, again)
    write_receipt(tmp_path, receipt(2))
    collect_receipts(tmp_path)
    assert read_receipts(tmp_path) == [receipt(0), again, receipt(2)]


def test_receipts_of_episodes_beyond_a_stop_are_dropped(tmp_path):
    for index in range(3):
        write_receipt(tmp_path, receipt(index))
    collect_receipts(tmp_path, episodes=2)
    assert [each.episode_index for each in read_receipts(tmp_path)] == [0, 1]
    assert len(list(tmp_path.iterdir())) == 1


def test_of_a_history_of_images_the_newest_is_shown():
    history = np.stack([np.full((2, 4, 3), value, np.uint8) for value in (3, 5)])
    shown = make_receipt(0, 0, "", {"pose": np.zeros((2, 3), np.float32), "front": history}, NEEDS)
    assert shown.images == receipt(0, fill=5).images
    assert np.shape(shown.vectors["pose"][0].values) == (2, 2)


def test_receipts_of_schema_version_1_are_read(tmp_path):
    feature = {"name": "place", "unit": "m", "frame": "world", "values": [0.5]}
    old = {
        "episode_index": 0,
        "seed": 7,
        "instruction": "go",
        "digest": "abc",
        "state": [feature],
        "images": {},
        "actions": [[0.0, None]],
    }
    (tmp_path / "run.json").write_text(json.dumps({"schema_version": 1, "receipts": [old]}))
    (found,) = read_receipts(tmp_path)
    assert found.vectors == {"state": (ReceivedFeature(**feature),)}
    assert (found.seed, found.actions) == (7, [[0.0, None]])


def damaged(**changes):
    return json.dumps({"schema_version": 2, "receipts": [asdict(receipt(0)) | changes]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "are damaged"),
        ("[1]", "are damaged"),
        ("[" * 100_000, "are damaged"),
        ('{"schema_version": 2, "receipts": 5}', "are damaged"),
        ('{"schema_version": 2, "receipts": [5]}', "named entries"),
        ('{"schema_version": 3, "receipts": []}', "schema version 3, expected 2"),
        (damaged(seed="7"), "expected seed of type int"),
        (damaged(images={"front": 5}), "expected images.front of type str"),
        (damaged(vectors={"pose": [{"name": "place"}]}), "expected vectors.pose.unit of type str"),
    ],
)
def test_damage_is_one_clear_line(tmp_path, text, message):
    (tmp_path / "receipts.json").write_text(text)
    with pytest.raises(ResultsError, match=message) as raised:
        read_receipts(tmp_path)
    assert "\n" not in str(raised.value)
    assert str(tmp_path / "receipts.json") in str(raised.value)
