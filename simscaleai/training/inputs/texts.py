"""The instructions of a dataset. Each distinct text is tokenised once, before training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simscaleai.data import Dataset
from simscaleai.models.action_model import DistinctTexts

Tokenize = Callable[[list[str]], Tensor]
"""Maps texts to integer tokens (number of texts, L) on the device of the model, with 0 as padding."""


class Instructions:
    """Gives the instruction of each row of a batch: as tokens to a model that offers `text_tokens`, else as text."""

    def __init__(self, dataset: Dataset, tokenize: Tokenize | None, *, fixed_shapes: bool) -> None:
        """Tokenise the instructions of `dataset`.

        Args:
            dataset: The demonstrations.
            tokenize: The model's tokenizer; None for a model that takes text or no language.
            fixed_shapes: Pad tokens so that all batches of one size have tensors of the same shapes.
        """
        texts = [episode.metadata["instruction"] for episode in dataset.episodes]
        index = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        self._texts = list(index)
        self._text_of_frame = np.array([index[text] for text in texts])[dataset.episode_of_frame]
        self._tokens = None if tokenize is None else tokenize(self._texts)
        if self._tokens is not None:
            is_token = (self._tokens != 0).cpu().numpy()
            self._lengths = (is_token * np.arange(1, is_token.shape[1] + 1)).max(axis=1)
        self._fixed_shapes = fixed_shapes

    def select(self, frames: NDArray[np.intp]) -> dict[str, Any]:
        """Return what `language` needs to know of the batch of `frames`, shape (B,)."""
        of_row = self._text_of_frame[frames]
        if self._tokens is None:
            return {"language": [self._texts[number] for number in of_row.tolist()]}
        texts, rows = _distinct(of_row)
        longest = max(1, int(self._lengths[texts].max()))
        if self._fixed_shapes:
            texts = np.resize(texts, min(len(self._texts), len(frames)))
            longest = self._tokens.shape[1]
        return {"texts": torch.from_numpy(texts), "text_of_row": torch.from_numpy(rows), "longest_text": longest}

    def language(self, selection: dict[str, Any]) -> list[str] | DistinctTexts:
        """Return the `language` of the batch of a `selection`, whose tensors are on the device."""
        if self._tokens is None:
            return selection["language"]  # type: ignore[no-any-return]
        tokens = self._tokens.index_select(0, selection["texts"])[:, : selection["longest_text"]]
        return DistinctTexts(tokens, selection["text_of_row"])


def _distinct(numbers: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the distinct `numbers` in the order in which they first occur, and the place of each number in them."""
    values, first, places = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return values[order], np.argsort(order)[places]
