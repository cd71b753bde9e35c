"""Writes the view as files that open from disk: the same pages, with their data as scripts beside them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import combinations, islice
from pathlib import Path
from typing import Any, TypeAlias

from eval.view.answer import POLICY, Answer
from simscaleai.errors import SimScaleError
from simscaleai.files import new_folder

MOST_COMPARISONS = 500
"""Largest number of pairs of runs whose comparison is written."""

Answers: TypeAlias = Callable[[str], Answer]


def write_site(output: Path, answers: Answers) -> int:
    """Write the pages into the new folder `output`.

    Args:
        output: Folder that does not exist, or is empty.
        answers: Returns the answer to an address of the view.

    Returns:
        Number of runs.

    Raises:
        SimScaleError: If `output` holds something.
        OSError: If it cannot be written.
    """
    runs = _all_runs(answers)
    with new_folder(output) as folder:
        (folder / "index.html").write_bytes(_page(answers("index.html")))
        for name in ("view.css", "view.js"):
            _write(folder / name, answers(name))
        _write_data(folder, "runs", runs)
        for name in (*_names(answers, runs["runs"]), *_comparisons(runs["runs"])):
            try:
                answer = answers(name)
            except (SimScaleError, OSError):
                continue  # the page says that this was not written
            if name.startswith("data/"):
                name = name.removeprefix("data/").removesuffix(".json")
                _write_data(folder, name, json.loads(_bytes(answer)))
            else:
                _write(folder / name, answer)
    return len(runs["runs"])


def _all_runs(answers: Answers) -> dict[str, Any]:
    """Return the lines about all runs, after every one was read."""
    while (runs := json.loads(_bytes(answers("data/runs.json"))))["waiting"]:
        pass
    return dict(runs)


def _names(answers: Answers, rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the addresses of the pages of each run and its episodes, and of its films."""
    for row in rows:
        key, name = row["key"], f"data/run/{row['key']}.json"
        try:
            page = json.loads(_bytes(answers(name)))
        except (SimScaleError, OSError):
            continue
        yield name
        yield from (f"data/episode/{key}/{index}.json" for index in page["details"])
        yield from (f"film/{key}/{index}.mp4" for index in page["films"])
        if row["battery"]:
            yield f"data/curves/{key}.json"


def _comparisons(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the addresses of the comparisons of runs in the same environment, both ways round."""
    plain = [row for row in rows if not row["battery"]]
    pairs = ((a, b) for a, b in combinations(plain, 2) if a["environment"] == b["environment"])
    for a, b in islice(pairs, MOST_COMPARISONS):
        yield f"data/comparison/{a['key']}/{b['key']}.json"
        yield f"data/comparison/{b['key']}/{a['key']}.json"


def _page(answer: Answer) -> bytes:
    """Return the page, which then takes its data from scripts, with the policy that a server would send."""
    policy = POLICY.partition("; frame-ancestors")[0]  # which only a header can set
    marked = _bytes(answer).replace(b'<html lang="en">', b'<html lang="en" data-files="yes">', 1)
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    return marked.replace(b"<title>", f"{meta}\n<title>".encode(), 1)


def _write_data(folder: Path, name: str, data: dict[str, Any]) -> None:
    path = folder / "data" / f"{name}.js"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"deliver({json.dumps(name)}, {json.dumps(data, allow_nan=False)});\n", encoding="ascii")


def _write(path: Path, answer: Answer) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(answer.body, bytes):
        path.write_bytes(answer.body)
    else:
        shutil.copyfile(answer.body, path)


def _bytes(answer: Answer) -> bytes:
    return answer.body if isinstance(answer.body, bytes) else answer.body.read_bytes()
