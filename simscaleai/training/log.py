"""What a training tells: rows of metrics.csv, TensorBoard curves, a progress bar or, unwatched, plain lines."""

from __future__ import annotations

import csv
import io
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from tqdm import tqdm

from simscaleai.errors import SimScaleError
from simscaleai.files import replace_file

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS_FILE = "metrics.csv"
TENSORBOARD_FOLDER = "tensorboard"
SECONDS_BETWEEN_LINES = 10.0
"""Unwatched, at most so often a line is printed, besides those with a validation loss."""
COLUMNS = ("step", "loss", "auxiliary_loss", "gradient_norm", "learning_rate", "validation_loss", "minutes")


class TrainingLog:
    """Writes the metrics of one leg of a training and shows its progress."""

    def __init__(self, folder: Path, *, start: int, steps: int, tensorboard: bool = False) -> None:
        """Continue `metrics.csv` after step `start`, dropping rows of steps that will be done again.

        Args:
            folder: Of the training; curves go to a folder `tensorboard` in it.
            start: Steps done before.
            steps: Steps planned.
            tensorboard: Write curves for TensorBoard, too.

        Raises:
            SimScaleError: If TensorBoard is wanted and not installed.
        """
        self._curves = _curves(folder / TENSORBOARD_FOLDER, start) if tensorboard else None
        path = folder / METRICS_FILE
        replace_file(path, _kept_rows(path, start).encode())
        self._file = path.open("a", newline="")
        self._rows = csv.DictWriter(self._file, COLUMNS)
        self._start, self._steps = start, steps
        self._since_row: list[Mapping[str, float]] = []
        self._began, self._last_line = time.monotonic(), -math.inf
        self._bar = tqdm(total=steps, initial=start, unit="step") if sys.stderr.isatty() else None

    def advance(self, metrics: Mapping[str, float]) -> None:
        """Count one step, whose `metrics` enter the means of the next row."""
        self._since_row.append(metrics)
        if self._bar is not None:
            self._bar.update()

    def write(self, step: int, present: Mapping[str, float]) -> None:
        """Write the row of `step`: means over the steps since the last row, and `present` values."""
        names = self._since_row[0] if self._since_row else ()
        metrics = {name: fmean(row[name] for row in self._since_row) for name in names} | dict(present)
        self._since_row.clear()
        self._rows.writerow({"step": step} | {name: f"{value:.6g}" for name, value in metrics.items()})
        self._file.flush()
        if self._curves is not None:
            for name, value in metrics.items():
                self._curves.add_scalar(name, value, step)
            self._curves.flush()
        shown: dict[str, str] = {
            name: f"{metrics[name]:.4g}" for name in ("loss", "validation_loss") if name in metrics
        }
        if self._bar is not None:
            self._bar.set_postfix(shown)
        elif "validation_loss" in shown or time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self.say(self._line(step, shown))

    def say(self, line: str) -> None:
        """Print `line` without tearing the progress bar."""
        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()

    def close(self) -> None:
        """Finish file and bar."""
        self._file.close()
        if self._curves is not None:
            self._curves.close()
        if self._bar is not None:
            self._bar.close()

    def _line(self, step: int, shown: Mapping[str, str]) -> str:
        rate = (step - self._start) / max(1e-9, time.monotonic() - self._began)
        remaining = tqdm.format_interval((self._steps - step) / rate) if rate else "?"
        values = "  ".join(f"{name} {value}" for name, value in shown.items())
        return f"step {step}/{self._steps}  {values}  {rate:.3g} steps/s  {remaining} left"


def _curves(folder: Path, start: int) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SimScaleError(
            f"--tensorboard needs it installed ({error}): pip install 'simscaleai[tensorboard]'"
        ) from None
    return SummaryWriter(str(folder), purge_step=start + 1)  # curves of steps that will be done again are hidden


def _kept_rows(path: Path, last_step: int) -> str:
    """Return the CSV text of the rows up to `last_step`, with the heading."""
    text = io.StringIO()
    rows = csv.DictWriter(text, COLUMNS, lineterminator="\r\n")
    rows.writeheader()
    if last_step and path.exists():
        with path.open(newline="") as file:
            rows.writerows(row for row in csv.DictReader(file) if int(row["step"]) <= last_step)
    return text.getvalue()
