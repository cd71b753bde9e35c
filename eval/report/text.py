"""A report as Markdown, and as JSON."""

from __future__ import annotations

import json
from typing import Any

from eval.comparison.as_json import comparison_to_json
from eval.report.contents import ComparisonReport, Report, RunReport
from eval.report.templating import environment

REPORT_VERSION = 2
"""Version of the JSON. It increases when a key changes its meaning."""


def render_markdown(report: Report) -> str:
    """Return `report` as Markdown, for a pull request or an issue."""
    return environment().get_template("report.md.jinja").render(report=report)


def render_json(report: Report) -> str:
    """Return `report` as JSON: every figure that the page shows; rates and differences are fractions."""
    data = {
        "report_version": REPORT_VERSION,
        "runs": [_run(run) for run in report.runs],
        "comparisons": [_comparison(comparison) for comparison in report.comparisons],
        "not_comparable": [
            {"a": pair.a.name, "b": pair.b.name, "differences": list(pair.differences)} for pair in report.incomparable
        ],
    }
    return json.dumps(data, indent=2, allow_nan=False) + "\n"


def _run(report: RunReport) -> dict[str, Any]:
    record = report.record.to_json()
    copied = ("policies", "sequential", "source", "fingerprint", "config", "timing")
    return {
        "name": report.name,
        "folder": str(report.run.folder),
        "model": report.model,
        "environment": report.environment,
        "complete": report.run.is_complete,
        "success": report.meaning_of_success,
        "seeds": list(report.run.seeds),
        "interventions": list(report.run.interventions),
        "perturbations": dict(report.run.record.perturbations),
        "summary": report.summary.to_json(),
        "notices": [vars(notice) for notice in report.notices],
        "limits": list(report.limits),
        "episodes": _episodes(report),
        "replay": report.replay() if report.results else None,
        "environment_spec": record["environment"],
        **{name: record[name] for name in copied},
    }


def _episodes(report: RunReport) -> list[dict[str, Any]]:
    """Return the episodes, each with the positions of objects and goals at its start."""
    places = {place.feature: place.xy.tolist() for place in report.places}
    return [
        result.to_json() | {feature: xy[row] for feature, xy in places.items() if row < len(xy)}
        for row, result in enumerate(report.results)
    ]


def _comparison(report: ComparisonReport) -> dict[str, Any]:
    found = comparison_to_json(report.comparison)
    names = {"a": {"name": report.a.name, **found["a"]}, "b": {"name": report.b.name, **found["b"]}}
    return {**found, **names, "holm_p": report.holm_p, "verdict_among_all": report.verdict}
