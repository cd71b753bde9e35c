"""The view with 1,000 runs, and with a run of 10,000 episodes, in headless Chromium.

The limits are those of an idle machine, times `SLACK`. `pytest -m slow -s tests/eval/view/test_speed.py` prints the
figures.
"""

import json
import os
import time

import pytest
from chromium import CHROMIUM, Browser

from eval.runs.log_file import EPISODES_FILE
from eval.runs.versions import RECORD_FILE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]

SLACK = 20
"""How much slower than an idle machine a busy one may be."""

ROWS = "document.querySelectorAll('table.list tbody tr').length"


def timed(browser, code, until):
    """Returns the time in the page [ms] from running `code` until `until` is true and drawn."""
    return browser.run(
        f"""(async () => {{
            const start = performance.now();
            {code};
            while (!({until}) && performance.now() < start + 30000) await new Promise((done) => setTimeout(done, 1));
            await new Promise((done) => setTimeout(done, 0));
            return performance.now() - start;
        }})()"""
    )


def search(browser, text, found):
    """Returns the time [ms] of a search that shows `found` in the line that counts."""
    code = f"""const search = document.getElementById("search");
        search.value = "{text}";
        search.dispatchEvent(new Event("input"))"""
    count = "(document.getElementById('count') ?? document.querySelector('.filters [role=status]')).textContent"
    return timed(browser, code, f"{count}.startsWith('{found} of')")


def test_many_runs_and_episodes_stay_quick(tmp_path, runs, make_run, serve):
    first = make_run("run-0000", "+-" * 10)
    for number in range(1, 1000):
        folder = runs / f"run-{number:04}"
        folder.mkdir()
        for name in (RECORD_FILE, EPISODES_FILE):
            os.link(first / name, folder / name)
    make_run("long", "++-+" * 2500, policy={"model": "vla"})
    browser = Browser(tmp_path / "profile")
    try:
        figures = measure(browser, serve(runs))
    finally:
        browser.close()
    print(json.dumps({name: round(value) for name, value in figures.items()}))
    limits = {"first view": 1000, "filter runs": 100, "run of 10,000": 2000, "filter episodes": 100}
    assert {name: figures[name] for name, most in limits.items() if figures[name] > SLACK * most} == {}


def measure(browser, server):
    """Returns times [ms] by what was done."""
    browser.look(1400)
    begin = time.perf_counter()
    browser.open(server.url)
    browser.wait_for(f"{ROWS} >= 50")
    figures = {"first view": 1000 * (time.perf_counter() - begin)}
    browser.wait_for("state.data.runs.length == 1001")
    figures["all runs"] = 1000 * (time.perf_counter() - begin)
    figures["filter runs"] = search(browser, "run-07", 100)
    key = browser.run("state.data.runs.find((row) => row.path == 'long').key")
    opened = f"document.querySelector('h1')?.textContent.startsWith('vla') && {ROWS} == 50"
    figures["run of 10,000"] = timed(browser, f"location.hash = '#/run/{key}'", opened)
    figures["filter episodes"] = search(browser, "dropped", "2,500")
    return figures
