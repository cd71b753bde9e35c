"""Measures the speed table: the speed of this project on this machine, next to the targets.

    python -m benchmarks.run            # half an hour
    python -m benchmarks.run --quick    # two minutes: few episodes, few rounds
    python -m benchmarks.run --peers peers/bin/python    # and FetchPickAndPlace in the same rounds; see speed/fetch.py
    python -m benchmarks.run --peers peers/bin/python --only "128 x 128"    # some rows; the others stay in the table

The rows are measured in turn, round after round. A figure is the median over the rounds. Writes
benchmarks/results/speed.csv with machine and versions. The column `loaded` says whether the machine did other work at
the same time. If it did, only shares are meaningful, because both of their parts are measured at the same time.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.speed import measurements
from benchmarks.speed.fetch import fetch_figure
from benchmarks.tables import RESULTS, read_csv, write_csv
from benchmarks.training import model_speed, training_speed
from eval.runs.provenance import fingerprint, source_state

TABLE = RESULTS / "speed.csv"

Line = dict[str, object]
"""Line of the CSV."""

_QUIET_LOAD = 0.3
"""Highest load average over the last minute at which a machine counts as quiet."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    unit: str
    target: str
    """Target as text, for example "≤ 25"; empty for a figure without a target."""
    measure: Callable[[], float]
    """Function that measures the figure once."""


def table(*, quick: bool) -> list[Row]:
    """Return the rows that need only this project."""
    episodes, evaluated, collected = (100, 20, 10) if quick else (1000, 200, 500)
    repeats = 3 if quick else 7
    return [
        Row(name="step outside physics, 16 slots", unit="µs", target="≤ 25", measure=measurements.step_overhead),
        Row(name="step outside physics, 16 slots", unit="share", target="", measure=measurements.step_overhead_share),
        Row(name="16 slots", unit="simulated s/s", target="", measure=measurements.vector_speed),
        Row(name="single gym.make", unit="simulated s/s", target="", measure=measurements.single_speed),
        *(
            Row(name=f"16 slots in {name}, 128 x 128 every step", unit="steps/s", target="", measure=_images(processes))
            for processes, name in ((1, "1 process"), (2, "2 processes"))
        ),
        Row(name="reset of one slot among 16", unit="ms", target="≤ 0.3", measure=measurements.slot_reset),
        Row(name="eval.rollout --help", unit="s", target="≤ 0.5", measure=measurements.help_time),
        Row(name="command to first control step", unit="s", target="≤ 2.5", measure=measurements.first_step_time),
        Row(
            name=f"{episodes} scripted episodes outside physics",
            unit="share",
            target="≤ 0.2",
            measure=partial(measurements.rollout_share, episodes),
        ),
        Row(
            name=f"{evaluated} episodes of the VLA, harness alone",
            unit="share",
            target="≤ 0.1",
            measure=partial(measurements.vla_share, evaluated),
        ),
        Row(
            name=f"collection of {collected} image demonstrations",
            unit="stored steps/s",
            target="≥ 300",
            measure=partial(measurements.collect_speed, collected),
        ),
        Row(
            name="input pipeline of training, 2 images of 96², one thread",
            unit="images/s",
            target="≥ 25000",
            measure=training_speed.input_speed,
        ),
        Row(
            name="VLA small, training step, plain formulation",
            unit="times ours",
            target="≥ 1.8",
            measure=partial(model_speed.training_ratio, repeats),
        ),
        Row(
            name="VLA small, prediction, plain formulation",
            unit="times ours",
            target="≥ 2",
            measure=partial(model_speed.prediction_ratio, repeats),
        ),
    ]


def peer_rows(peers: Path) -> list[Row]:
    """Return the rows that compare this project with FetchPickAndPlace, measured in the interpreter `peers`."""

    def times_fetch(kind: str, ours: Callable[[], float], processes: int = 1) -> Callable[[], float]:
        return lambda: ours() / fetch_figure(peers, kind, processes)

    pairs = [
        ("16 slots, simulated s/s", "≥ 5", times_fetch("vector", measurements.vector_speed)),
        ("single gym.make, simulated s/s", "≥ 2.5", times_fetch("single", measurements.single_speed)),
        *(
            (
                f"128 x 128 every step, {processes} against {processes} processes, steps/s",
                "",
                times_fetch("image", _images(processes), processes),
            )
            for processes in (1, 2)
        ),
    ]
    return [Row(name=name, unit="times Fetch's", target=target, measure=work) for name, target, work in pairs]


def _images(processes: int) -> Callable[[], float]:
    return partial(measurements.image_speed, processes, 16 // processes)


def measure(rows: list[Row], rounds: int) -> list[list[float]]:
    """Measure the rows in turn, `rounds` times after one warm-up round; return the figures of each row."""
    figures: list[list[float]] = [[] for _ in rows]
    for number in range(rounds + 1):
        for row, found in zip(rows, figures, strict=True):
            figure = row.measure()
            if number > 0:
                found.append(figure)
        print(f"round {number} of {rounds}", flush=True)
    return figures


def circumstances(load: float) -> dict[str, object]:
    """Return the conditions of the figures: machine, versions, commit, and whether the machine did other work."""
    here, source = fingerprint({}), source_state()
    return {
        "machine": f"{here['machine']} {here['system']}, {_processor()}",
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        **{name: here["libraries"][name] for name in ("mujoco", "numpy", "gymnasium")},
        "commit": "" if source is None else (source.commit or "")[:12] + ("+" if source.dirty else ""),
        "loaded": "yes" if load > _QUIET_LOAD else "no",
    }


def _processor() -> str:
    """Return the name of the processor, from Linux if possible, else from Python."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def write(
    path: Path, rows: list[Row], figures: list[list[float]], conditions: dict[str, object], others: Sequence[Line] = ()
) -> None:
    """Write the table to `path`, one line per row after the `others`, and print the lines of `rows`."""
    lines: list[Line] = [
        {
            "what": row.name,
            "unit": row.unit,
            "target": row.target,
            "median": f"{statistics.median(found):.4g}",
            "lowest": f"{min(found):.4g}",
            "highest": f"{max(found):.4g}",
            "rounds": len(found),
            **conditions,
        }
        for row, found in zip(rows, figures, strict=True)
    ]
    for line in lines:
        print(f"{line['what']:44} {line['median']:>8} {line['unit']:14} {line['target']}")
    write_csv(path, [*others, *lines])


def other_lines(path: Path, rows: list[Row]) -> list[Line]:
    """Return the lines of the table in `path` that are not about `rows`."""
    measured = {(row.name, row.unit) for row in rows}
    return [dict(line) for line in read_csv(path) if (line["what"], line["unit"]) not in measured]


def main() -> None:
    """Measure every row and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer episodes and rounds")
    parser.add_argument("--peers", type=Path, help="Python interpreter that has gymnasium-robotics")
    parser.add_argument("--only", default="", help="measure the rows with this text in their names; keep the others")
    parser.add_argument("--output", type=Path, default=TABLE, help="CSV to write")
    arguments = parser.parse_args()
    conditions = circumstances(os.getloadavg()[0])  # before this process adds to the load
    if conditions["loaded"] == "yes":
        print("The machine is doing other work: only the shares are meaningful.")
    rows = table(quick=arguments.quick) + (peer_rows(arguments.peers) if arguments.peers else [])
    rows = [row for row in rows if arguments.only in row.name]
    others = other_lines(arguments.output, rows) if arguments.only and arguments.output.exists() else []
    write(arguments.output, rows, measure(rows, 3 if arguments.quick else 5), conditions, others)


if __name__ == "__main__":
    main()
