"""Runs a model on rows of observations so that the result of a row does not depend on the other rows.

Matrix products round differently for different batch sizes, and rows on the border between two threads round
differently from other rows. So rows run in padded tiles of one fixed size, each on one thread. A probe at load time
checks that the rows of a tile are independent. If they are not, the model runs one row per call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from policies.learned.rows import EpisodeNoise, Rows
from simscaleai.errors import SimScaleError

if TYPE_CHECKING:
    import torch
    from torch import nn

Observations = Mapping[str, "torch.Tensor"]


class RowInference:
    """Calls a model so that the chunk of a row depends only on its inputs and its noise."""

    def __init__(self, model: nn.Module, *, uses_language: bool, probe: Observations, device: str = "cpu") -> None:
        """Move `model` to `device`, probe it and choose how to run it.

        Args:
            model: Module with a method `predict(obs, ...)`. `predict` takes `language` if `uses_language`, and `noise`
                if the module has a method `noise_shape` that returns a shape.
            uses_language: Whether to pass the instructions to the model.
            probe: Observations of as many rows as a tile shall have, to check whether the rows are independent.
            device: Where the model computes, a device of torch.

        Raises:
            SimScaleError: If instructions are needed but not taken, or equal inputs give different actions.
        """
        self._model, self._device = model.to(device), device
        self._tile = _row_count(probe)
        self._uses_language = uses_language
        remember: Callable[[], None] | None = getattr(model, "remember_texts", None)
        if remember is not None:
            remember()
        self.noise = _noise_of_row(model, self._tile)
        """Shape (steps + 1, H · A) of the noise that a row of a tile needs; None if it needs none."""
        self.chunk = (0, 0)
        """Shape (H, A) of the chunk of a row."""
        if uses_language and "language" not in inspect.signature(model.predict).parameters:  # type: ignore[arg-type]
            raise SimScaleError(
                f"the policy needs instructions, but {type(model).__name__}.predict takes no 'language'"
            )
        with repeatable_arithmetic():
            self.runs_tiles = self._has_independent_rows(probe)
            repeats = self.runs_tiles or self._repeats_itself(probe)
        if not repeats:
            raise SimScaleError(
                f"{type(model).__name__}.predict gives different actions for equal inputs, so no episode could be "
                "repeated; keep no memory between calls, and draw from `noise` or torch's own generator"
            )

    @property
    def rows_at_once(self) -> int:
        """The most rows of one call."""
        return self._tile if self.runs_tiles else 1

    @property
    def is_thread_safe(self) -> bool:
        """Whether several threads may call `predict` at the same time."""
        return self.runs_tiles and bool(getattr(self._model, "is_thread_safe", False))

    def check_texts(self, texts: Sequence[str]) -> None:
        """Check that the model can read the instructions `texts`. One that it cannot read would stop a whole tile.

        Raises:
            SimScaleError: If it cannot.
        """
        check: Callable[[Sequence[str]], None] | None = getattr(self._model, "check_texts", None)
        if self._uses_language and check is not None:
            check(texts)

    def lacks_device(self, error: Exception) -> bool:
        """Return whether `error` of a call, or what follows from it, is the fault of the device.

        A GPU may be full because of other programs. After some errors it refuses all further calls of this process.
        """
        import torch

        try:
            torch.ones(1, device=self._device).add_(1).cpu()
        except RuntimeError:
            return True
        return isinstance(error, torch.OutOfMemoryError)

    def predict(self, observations: Observations, rows: Rows) -> NDArray[np.float32]:
        """Return one chunk for each of `rows`, (n, H, A), in model space. Call it within `repeatable_arithmetic`.

        Args:
            observations: The observations of `rows` as tensors.
            rows: At most `rows_at_once` rows.
        """
        run = self._run_tile if self.runs_tiles else self._run_single
        chunks: NDArray[np.float32] = run(observations, rows).numpy()
        return chunks

    def _run_tile(self, observations: Observations, rows: Rows) -> torch.Tensor:
        missing = self._tile - len(rows)
        padded = {key: _pad(values, missing) for key, values in observations.items()}
        noise = None if rows.noise is None else _noise_of_tile(rows.noise, missing)
        return self._call(padded, [*rows.texts, *[rows.texts[0]] * missing], noise)[: len(rows)]

    def _run_single(self, observations: Observations, rows: Rows) -> torch.Tensor:
        """Run one row on its own, with torch's generator seeded by the row's seed for models that sample."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0 if rows.seeds is None else int(rows.seeds[0]))
            return self._call(observations, rows.texts, None)

    def _call(self, observations: Observations, texts: Sequence[str], noise: torch.Tensor | None) -> torch.Tensor:
        keywords: dict[str, Any] = {"language": list(texts)} if self._uses_language else {}
        if noise is not None:
            keywords["noise"] = noise.to(self._device)
        placed = {key: values.to(self._device) for key, values in observations.items()}
        actions: torch.Tensor = self._model.predict(placed, **keywords)  # type: ignore[operator]
        rows = len(texts)
        if actions.ndim not in (2, 3) or len(actions) != rows:
            raise SimScaleError(
                f"predict returned shape {tuple(actions.shape)}, expected ({rows}, A) or ({rows}, H, A)"
            )
        return actions.detach().float().cpu().reshape(rows, -1, actions.shape[-1])

    def _has_independent_rows(self, probe: Observations) -> bool:
        """Return whether permuted rows give permuted results, and equal rows give equal results, to the last bit.

        Sets `chunk`, which the results show.
        """
        import torch

        texts = [f"probe {row}" for row in range(self._tile)]
        rng = np.random.default_rng(0)
        order = torch.from_numpy(rng.permutation(self._tile))
        noise = None
        if self.noise is not None:
            steps, numbers = self.noise
            noise = torch.from_numpy(rng.standard_normal((steps, self._tile, numbers), dtype=np.float32))
        moved = {key: values[order] for key, values in probe.items()}
        alone = {key: values[:1].expand_as(values).contiguous() for key, values in probe.items()}
        same_noise = None if noise is None else noise[:, :1].expand_as(noise).contiguous()
        with torch.random.fork_rng(devices=[]):
            plain = self._call(probe, texts, noise)
            self.chunk = (int(plain.shape[1]), int(plain.shape[2]))
            permuted = self._call(moved, [texts[row] for row in order], None if noise is None else noise[:, order])
            repeated = self._call(alone, texts[:1] * self._tile, same_noise)
        return bool(torch.equal(plain[order], permuted) and torch.equal(repeated, plain[:1].expand_as(repeated)))

    def _repeats_itself(self, probe: Observations) -> bool:
        """Return whether a single row gives the same result, to the last bit, before and after another row is run."""
        first, _, again = (
            self._run_single(
                {key: values[row : row + 1] for key, values in probe.items()},
                Rows({}, [text], seeds=np.array([EpisodeNoise(row).integer()])),
            )
            for row, text in ((0, "probe"), (1, "another"), (0, "probe"))
        )
        return first.numpy().tobytes() == again.numpy().tobytes()  # bytes: NaN equals NaN


@contextmanager
def repeatable_arithmetic() -> Iterator[None]:
    """Let torch compute on one thread and in full precision within the block, whatever the program has set before.

    Threads that compute for this thread need a block of their own, which begins and ends within this one.
    """
    import torch

    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    try:
        with (
            torch.autocast("cpu", enabled=False),
            torch.autocast("cuda", enabled=False),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


def _row_count(observations: Observations) -> int:
    return len(next(iter(observations.values())))


def _noise_of_row(model: nn.Module, tile: int) -> tuple[int, int] | None:
    """Return the shape (steps + 1, H · A) of a row of the noise for `model.predict`; None if it takes no noise."""
    ask = getattr(model, "noise_shape", None)
    shape = None if ask is None else ask(tile)
    if shape is None:
        return None
    if len(shape) != 3 or shape[1] != tile:
        name = type(model).__name__
        raise SimScaleError(f"{name}.noise_shape({tile}) is {tuple(shape)}, expected (steps + 1, {tile}, H · A)")
    return int(shape[0]), int(shape[2])


def _pad(values: torch.Tensor, missing: int) -> torch.Tensor:
    """Add `missing` copies of the first row."""
    import torch

    return values if missing == 0 else torch.cat([values, values[:1].expand(missing, *values.shape[1:])])


def _noise_of_tile(rows: NDArray[np.float32], missing: int) -> torch.Tensor:
    """Return the noise (steps + 1, tile, H · A) from that of each row, (n, steps + 1, H · A)."""
    import torch

    filled = np.concatenate([rows, rows[:1].repeat(missing, axis=0)])
    return torch.from_numpy(np.ascontiguousarray(filled.transpose(1, 0, 2)))
