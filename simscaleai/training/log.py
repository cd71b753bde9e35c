"""Reports the progress of a training: rows of metrics.csv, TensorBoard curves, and a progress bar or plain lines."""

from __future__ import annotations

import csv
import io
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from tqdm import tqdm

from simscaleai.errors import SimScaleError
from simscaleai.files import replace_file
from simscaleai.json_data import damage_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS_FILE = "metrics.csv"
TENSORBOARD_FOLDER = "tensorboard"
SECONDS_BETWEEN_LINES = 10.0
"""Shortest time between printed lines [s] without a progress bar. A line with a validation loss is always printed."""
COLUMNS = ("step", "loss", "auxiliary_loss", "gradient_norm", "learning_rate", "validation_loss", "minutes")


class TrainingLog:
    """Writes the metrics of a new or continued training, and shows its progress."""

    def __init__(self, folder: Path, *, start: int, steps: int, tensorboard: bool = False) -> None:
        """Open `metrics.csv` after removing its rows after step `start`, because those steps run again.

        Args:
            folder: Folder of the training; curves go to a folder `tensorboard` in it.
            start: Number of steps done before.
            steps: Number of steps planned.
            tensorboard: Whether to write curves for TensorBoard, too.

        Raises:
            SimScaleError: If TensorBoard is wanted but not installed.
        """
        self._curves = _curves(folder / TENSORBOARD_FOLDER, start) if tensorboard else None
        path = folder / METRICS_FILE
        replace_file(path, _rows_until(path, start))
        self._file = path.open("a", newline="", encoding="utf-8")
        self._rows = csv.DictWriter(self._file, COLUMNS)
        self._start, self._steps = start, steps
        self._began, self._last_line = time.monotonic(), -math.inf
        self._bar = tqdm(total=steps, initial=start, unit="step") if sys.stderr.isatty() else None

    def advance(self) -> None:
        """Count one step."""
        if self._bar is not None:
            self._bar.update()

    def write(self, step: int, since_row: Sequence[Mapping[str, float]], current: Mapping[str, float]) -> None:
        """Write the row of `step`: means of the metrics of the steps `since_row`, and the `current` values."""
        metrics = {name: fmean(row[name] for row in since_row) for name in since_row[0]} | dict(current)
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
            self.print_line(self._line(step, shown))

    def print_line(self, line: str) -> None:
        """Print `line` above the progress bar."""
        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()

    def close(self) -> None:
        """Close the files and the progress bar."""
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
            f"--tensorboard needs the package tensorboard ({error}): pip install 'simscaleai[tensorboard]'"
        ) from None
    return SummaryWriter(str(folder), purge_step=start + 1)  # hides the curves of repeated steps


def _rows_until(path: Path, last_step: int) -> str:
    """Return the CSV text of the rows up to `last_step`, with the header."""
    text = io.StringIO()
    rows = csv.DictWriter(text, COLUMNS, lineterminator="\r\n")
    rows.writeheader()
    if last_step and path.exists():
        try:
            with path.open(newline="") as file:
                rows.writerows(row for row in csv.DictReader(file) if int(row["step"]) <= last_step)
        except (ValueError, LookupError, TypeError, csv.Error) as error:
            raise SimScaleError(f"{path} is damaged ({damage_text(error)}); delete it and continue") from None
    return text.getvalue()
