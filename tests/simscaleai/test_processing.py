from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simscaleai.errors import SimScaleError
from simscaleai.json_data import plain, read_checked
from simscaleai.processing import STD_FLOOR, Affine, Processor

RNG = np.random.default_rng(0)
STATE = RNG.normal(2.0, 3.0, (50, 3)).astype(np.float32)
TRUTH = RNG.normal(size=(50, 2)).astype(np.float32)
finite = st.floats(-1e3, 1e3, width=32)
rows = st.lists(st.tuples(finite, finite, finite), min_size=2, max_size=20)


def statistics_of(values: np.ndarray) -> dict[str, Any]:
    values = values.astype(np.float64)
    return {name: getattr(values, name)(0).tolist() for name in ("min", "max", "mean", "std")} | {"count": len(values)}


def statistics(action_range: float = 1.0) -> dict[str, Any]:
    actions = np.linspace(-action_range, action_range, 8).reshape(2, 4)
    return {
        "observation.state": statistics_of(STATE),
        "observation.environment_state": statistics_of(TRUTH),
        "action": statistics_of(actions),
    }


@given(rows=rows)
@settings(max_examples=50, deadline=None)
@pytest.mark.parametrize("kind", ["standardise", "from_range"])
def test_inverse_undoes_forward_to_float32_rounding(kind: str, rows: list[tuple[float, ...]]) -> None:
    values = np.array(rows, np.float32)
    affine = getattr(Affine, kind)(statistics_of(values))
    again = affine.inverse(affine.forward(values))
    size = np.abs(values).max() + np.abs(affine.offset).max() + 1
    np.testing.assert_allclose(again, values, atol=3e-7 * size, rtol=0)


def test_states_get_zero_mean_and_unit_deviation() -> None:
    normalised = Affine.standardise(statistics_of(STATE)).forward(STATE)
    np.testing.assert_allclose(normalised.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(normalised.std(0), 1, atol=1e-6)


def test_an_entry_that_never_moved_cannot_explode() -> None:
    affine = Affine.standardise(statistics_of(np.full((9, 1), 0.7, np.float32)))
    assert abs(affine.forward(np.array([[0.7]]))[0, 0]) < 1e-4
    assert affine.forward(np.array([[0.7 + STD_FLOOR]]))[0, 0] == pytest.approx(1, abs=1e-4)


def test_actions_within_bounds_pass_bit_for_bit(make_needs: Callable[..., Any]) -> None:
    processor = Processor.fit(make_needs(), statistics())
    actions = RNG.uniform(-1, 1, (7, 5, 4)).astype(np.float32)
    tensor = processor.actions(actions)
    assert np.array_equal(tensor.numpy(), actions)
    assert np.array_equal(processor.inverse_actions(tensor), actions)


def test_wider_actions_are_mapped_to_bounds_and_back(make_needs: Callable[..., Any]) -> None:
    processor = Processor.fit(make_needs(), statistics(action_range=5.0))
    extremes = np.array([[statistics(5.0)["action"][end][i] for i in range(4)] for end in ("min", "max")])
    np.testing.assert_allclose(processor.actions(extremes), [[-1] * 4, [1] * 4], atol=1e-7)
    np.testing.assert_allclose(processor.inverse_actions(torch.tensor([[-1.0] * 4, [1.0] * 4])), extremes, atol=1e-6)


def test_vectors_join_in_the_order_of_the_needs(make_needs: Callable[..., Any]) -> None:
    processor = Processor.fit(make_needs(), statistics())
    state = processor.observations({"environment_state": TRUTH, "state": STATE})["state"]
    assert processor.state_dim == 5
    np.testing.assert_array_equal(state[:, :3], Affine.standardise(statistics_of(STATE)).forward(STATE))
    np.testing.assert_array_equal(state[:, 3:], Affine.standardise(statistics_of(TRUTH)).forward(TRUTH))


def test_cameras_join_in_the_order_of_the_needs_as_exact_fractions(make_needs: Callable[..., Any]) -> None:
    needs = make_needs(cameras=("wrist", "front"), privileged=None)
    images = {key: RNG.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8) for key in ("front", "wrist")}
    image = Processor.fit(needs, statistics()).observations({"state": STATE[:2], **images})["image"]
    assert image.shape == (2, 6, 8, 8)
    assert image.dtype == torch.float32
    assert image.is_contiguous()
    for place, key in enumerate(("wrist", "front")):
        fractions = images[key].transpose(0, 3, 1, 2) / np.float32(255)
        np.testing.assert_array_equal(image[:, 3 * place : 3 * place + 3], fractions)


def test_images_alone_make_no_state(make_needs: Callable[..., Any]) -> None:
    needs = make_needs(cameras=("front",), vectors={})
    processor = Processor.fit(needs, statistics())
    observations = processor.observations({"front": np.zeros((2, 8, 8, 3), np.uint8)})
    assert observations.keys() == {"image"}
    assert processor.state_dim == 0


def test_cameras_of_different_sizes_are_refused(make_needs: Callable[..., Any]) -> None:
    needs = dataclasses.replace(make_needs(), cameras={"front": (8, 8), "wrist": (8, 9)})
    with pytest.raises(SimScaleError, match="one size, got front 8×8, wrist 8×9"):
        Processor.fit(needs, statistics())


def test_a_row_does_not_depend_on_its_batch(make_needs: Callable[..., Any]) -> None:
    needs = make_needs(cameras=("front",))
    processor = Processor.fit(needs, statistics())
    arrays = {
        "state": STATE[:5],
        "environment_state": TRUTH[:5],
        "front": RNG.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8),
    }
    together = processor.observations(arrays)
    for row in range(5):
        alone = processor.observations({key: values[row : row + 1] for key, values in arrays.items()})
        for key, values in alone.items():
            assert torch.equal(values[0], together[key][row])


@pytest.mark.parametrize("action_range", [1.0, 5.0])
def test_a_processor_survives_json(make_needs: Callable[..., Any], action_range: float) -> None:
    processor = Processor.fit(make_needs(cameras=("front",)), statistics(action_range))
    assert read_checked(Processor, plain(dataclasses.asdict(processor))) == processor


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"environment_state": TRUTH}, "needs observation 'state'"),
        ({"state": STATE[:, :2], "environment_state": TRUTH}, r"shape \(N, 3\), got \(50, 2\)"),
        ({"state": STATE, "environment_state": TRUTH}, "needs observation 'front'"),
        ({"state": STATE, "environment_state": TRUTH, "front": np.zeros((50, 8, 8, 3))}, "float64"),
        ({"state": STATE, "environment_state": TRUTH, "front": np.zeros((50, 8, 9, 3), np.uint8)}, r"\(50, 8, 9, 3\)"),
    ],
)
def test_unfit_observations_are_refused(make_needs: Callable[..., Any], arrays: Any, text: str) -> None:
    processor = Processor.fit(make_needs(cameras=("front",)), statistics())
    with pytest.raises(SimScaleError, match=text):
        processor.observations(arrays)


@pytest.mark.parametrize(
    "vectors",
    [
        {"state": {"offset": [0.0], "scale": [0.0]}},
        {"state": {"offset": [0.0], "scale": [-1.0]}},
        {"state": {"offset": [float("nan")], "scale": [1.0]}},
        {"state": {"offset": [0.0, 1.0], "scale": [1.0]}},
        {"state": {"offset": "abc", "scale": [1.0]}},
        {"state": None},
        None,
    ],
)
def test_a_damaged_configuration_is_refused(vectors: Any) -> None:
    with pytest.raises(SimScaleError):
        read_checked(Processor, {"vectors": vectors, "cameras": [], "image_size": None, "action": None})
