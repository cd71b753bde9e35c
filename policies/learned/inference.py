"""Runs a model on rows of observations so that the result of a row does not depend on the other rows.

Matrix products round differently for different batch sizes, and rows on the border between two threads round
differently from other rows. So rows run in padded tiles of one fixed size, on one thread. A probe at load time checks
that the rows of a tile are independent. If they are not, the model runs one row per call. `--workers` uses more cores.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simscaleai.errors import SimScaleError

if TYPE_CHECKING:
    import torch
    from torch import nn

TILE = 8
"""Number of rows in one call of the model."""

_NOISE_STREAM = 0x504F4C
"""Makes the noise independent of the environment's streams, which start from the same episode seed."""

Observations = Mapping[str, "torch.Tensor"]


class EpisodeNoise:
    """Random stream of one episode, from the episode's seed. Each call of the model makes one draw."""

    def __init__(self, seed: int) -> None:
        """Start the stream of the episode `seed`."""
        self._rng = np.random.default_rng([seed, _NOISE_STREAM])

    def normal(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return one row (steps + 1, H · A) of the noise that a tile of `shape` (steps + 1, TILE, H · A) needs."""
        return self._rng.standard_normal((shape[0], shape[2]), dtype=np.float32)

    def integer(self) -> int:
        """Return a random seed for another generator."""
        return int(self._rng.integers(2**63 - 1))


class RowInference:
    """Calls a model so that the chunk of a row depends only on its inputs, its seed and the number of the call."""

    def __init__(self, model: nn.Module, *, uses_language: bool, probe: Observations) -> None:
        """Probe `model` and choose how to run it.

        Args:
            model: Module with a method `predict(obs, ...)`. `predict` takes `language` if `uses_language`, and `noise`
                if the module has a method `noise_shape` that returns a shape.
            uses_language: Whether to pass the instructions to the model.
            probe: Observations of `TILE` rows, to check whether the rows of a tile are independent.

        Raises:
            SimScaleError: If instructions are needed but not taken, or equal inputs give different actions.
        """
        self._model = model
        self._uses_language = uses_language
        remember: Callable[[], None] | None = getattr(model, "remember_texts", None)
        if remember is not None:
            remember()
        self._noise_shape = _noise_shape(model)
        self.action_size = 0
        """Length of one action, A."""
        if uses_language and "language" not in inspect.signature(model.predict).parameters:  # type: ignore[arg-type]
            raise SimScaleError(
                f"the policy needs instructions, but {type(model).__name__}.predict takes no 'language'"
            )
        self.runs_tiles = self._has_independent_rows(probe)
        if not (self.runs_tiles or self._repeats_itself(probe)):
            raise SimScaleError(
                f"{type(model).__name__}.predict gives different actions for equal inputs, so no episode could be "
                "repeated; keep no memory between calls, and draw from `noise` or torch's own generator"
            )

    def check_texts(self, texts: Sequence[str]) -> None:
        """Check that the model can read the instructions `texts`. One that it cannot read would stop a whole tile.

        Raises:
            SimScaleError: If it cannot.
        """
        check: Callable[[Sequence[str]], None] | None = getattr(self._model, "check_texts", None)
        if self._uses_language and check is not None:
            check(texts)

    def predict(
        self, observations: Observations, texts: Sequence[str], streams: Sequence[EpisodeNoise]
    ) -> NDArray[Any]:
        """Return one chunk for each row, (n, H, A), in model space.

        Args:
            observations: Tensors with n rows.
            texts: Instruction of each row.
            streams: Noise stream of each row. Each stream advances by one draw.
        """
        import torch

        size = TILE if self.runs_tiles else 1
        run = self._run_tile if self.runs_tiles else self._run_single
        chunks = [
            run(
                {key: rows[start : start + size] for key, rows in observations.items()},
                texts[start : start + size],
                streams[start : start + size],
            )
            for start in range(0, len(texts), size)
        ]
        return np.asarray(torch.cat(chunks).numpy())

    def _run_tile(
        self, observations: Observations, texts: Sequence[str], streams: Sequence[EpisodeNoise]
    ) -> torch.Tensor:
        rows = len(texts)
        padded = {key: _pad(values) for key, values in observations.items()}
        noise = None
        if self._noise_shape is not None:
            noise = _pad_noise([stream.normal(self._noise_shape) for stream in streams])
        return self._call(padded, [*texts, *[texts[0]] * (TILE - rows)], noise)[:rows]

    def _run_single(
        self, observations: Observations, texts: Sequence[str], streams: Sequence[EpisodeNoise]
    ) -> torch.Tensor:
        """Run one row on its own, with torch's generator seeded by the row's stream for models that sample."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(streams[0].integer())
            return self._call(observations, texts, None)

    def _call(self, observations: Observations, texts: Sequence[str], noise: torch.Tensor | None) -> torch.Tensor:
        keywords: dict[str, Any] = {"language": list(texts)} if self._uses_language else {}
        if noise is not None:
            keywords["noise"] = noise
        with _repeatable_arithmetic():
            actions: torch.Tensor = self._model.predict(dict(observations), **keywords)  # type: ignore[operator]
        rows = len(next(iter(observations.values())))
        if actions.ndim not in (2, 3) or len(actions) != rows:
            raise SimScaleError(
                f"predict returned shape {tuple(actions.shape)}, expected ({rows}, A) or ({rows}, H, A)"
            )
        return actions.detach().float().cpu().reshape(rows, -1, actions.shape[-1])

    def _has_independent_rows(self, probe: Observations) -> bool:
        """Return whether permuted rows give permuted results, and equal rows give equal results, to the last bit.

        Sets `action_size`, which the results show.
        """
        import torch

        texts = [f"probe {row}" for row in range(TILE)]
        order = torch.tensor([3, 7, 0, 5, 1, 6, 2, 4])
        noise = None if self._noise_shape is None else _probe_noise(self._noise_shape)
        moved = {key: values[order] for key, values in probe.items()}
        alone = {key: values[:1].expand_as(values).contiguous() for key, values in probe.items()}
        same_noise = None if noise is None else noise[:, :1].expand_as(noise).contiguous()
        with torch.random.fork_rng(devices=[]):
            plain = self._call(probe, texts, noise)
            self.action_size = int(plain.shape[-1])
            permuted = self._call(moved, [texts[row] for row in order], None if noise is None else noise[:, order])
            repeated = self._call(alone, texts[:1] * TILE, same_noise)
        return bool(torch.equal(plain[order], permuted) and torch.equal(repeated, plain[:1].expand_as(repeated)))

    def _repeats_itself(self, probe: Observations) -> bool:
        """Return whether a single row gives the same result, to the last bit, before and after another row is run."""
        first, _, again = (
            self._run_single({key: values[row : row + 1] for key, values in probe.items()}, [text], [EpisodeNoise(row)])
            for row, text in ((0, "probe"), (1, "another"), (0, "probe"))
        )
        return first.numpy().tobytes() == again.numpy().tobytes()  # bytes: NaN equals NaN


@contextmanager
def _repeatable_arithmetic() -> Iterator[None]:
    """Let torch compute on one thread and in full precision within the block, whatever the program has set before."""
    import torch

    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


def _noise_shape(model: nn.Module) -> tuple[int, ...] | None:
    """Return the shape (steps + 1, TILE, H · A) of the noise for `model.predict`; None if it takes no noise."""
    ask = getattr(model, "noise_shape", None)
    shape = None if ask is None else ask(TILE)
    if shape is not None and (len(shape) != 3 or shape[1] != TILE):
        name = type(model).__name__
        raise SimScaleError(f"{name}.noise_shape({TILE}) is {tuple(shape)}, expected (steps + 1, {TILE}, H · A)")
    return None if shape is None else tuple(shape)


def _pad(values: torch.Tensor) -> torch.Tensor:
    """Fill a tile with copies of its first row."""
    import torch

    missing = TILE - len(values)
    return values if missing == 0 else torch.cat([values, values[:1].expand(missing, *values.shape[1:])])


def _pad_noise(rows: list[NDArray[np.float32]]) -> torch.Tensor:
    import torch

    filled = rows + rows[:1] * (TILE - len(rows))
    return torch.from_numpy(np.stack(filled, axis=1))


def _probe_noise(shape: tuple[int, ...]) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))
