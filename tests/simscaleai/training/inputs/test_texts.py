from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simscaleai.data import Dataset
from simscaleai.models.language import tokenize
from simscaleai.training.inputs.texts import Instructions


@pytest.fixture
def dataset(tmp_path: Path, make_needs: Any, make_dataset: Any) -> Dataset:
    return Dataset(make_dataset(tmp_path, make_needs(), episodes=5))


def test_a_model_without_a_tokenizer_gets_the_texts(dataset: Dataset) -> None:
    instructions = Instructions(dataset, None, fixed_shapes=False)
    frames = np.array([11, 0])
    assert instructions.language(instructions.select(frames)) == ["go to goal 2", "go to goal 0"]


@pytest.mark.parametrize("fixed_shapes", [False, True])
def test_the_tokens_of_each_row_are_those_of_its_instruction(dataset: Dataset, fixed_shapes: bool) -> None:
    instructions = Instructions(dataset, tokenize, fixed_shapes=fixed_shapes)
    frames = np.array([11, 0, 12, 3, 11])
    language = instructions.language(instructions.select(frames))
    texts = [dataset.episodes[number].metadata["instruction"] for number in dataset.episode_of_frame[frames]]
    assert torch.equal(language.tokens[language.rows], tokenize(texts))
    assert len(language) == 5
    if not fixed_shapes:
        assert torch.equal(language.tokens, tokenize(list(dict.fromkeys(texts))))


def test_fixed_shapes_do_not_depend_on_the_rows(dataset: Dataset) -> None:
    instructions = Instructions(dataset, tokenize, fixed_shapes=True)
    sizes = {
        instructions.language(instructions.select(frames)).tokens.shape
        for frames in (np.array([0, 1, 2]), np.array([0, 11, 5]), np.array([22, 22, 5]))
    }
    assert sizes == {(3, len("go to goal 0"))}
