"""The view in headless Chromium: three widths, keys, a run that goes on, hostile texts, pages from disk."""

from dataclasses import replace

import pytest
from battery_folders import FALLING, write_battery, write_expert
from chromium import CHROMIUM
from run_folders import RECORD, episode, with_summary, write_run

from eval.runs.log_file import EPISODES_FILE, append_result
from eval.runs.versions import RECORD_FILE
from eval.view.__main__ import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]

WIDTHS = (360, 800, 1400)
OUTSIDE = """[...document.querySelectorAll("h1, h2, p, dl, video, svg, button, input, select, pre, td")]
    .filter((element) => element.checkVisibility() && !element.closest(".scroll, .skip"))
    .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
    .map((element) => element.outerHTML.slice(0, 80))"""
ROWS = "document.querySelectorAll('table.list tbody tr').length"


@pytest.fixture
def shown(runs, make_run):
    """Runs with films, a battery, and a run that goes on."""
    make_run("a", "++-+" * 5, filmed=[1, 2])
    make_run("b", "+-++" * 5, filmed=[1, 2], policy={"model": "vla"})
    write_expert(write_battery(runs / "battery", FALLING))
    write_run(runs / "live", "++-", planned=10, record=replace(RECORD, summary=None))
    return runs


def keys_of(browser):
    return browser.run("Object.fromEntries(state.data.runs.map((row) => [row.path, row.key]))")


def pages(browser, start):
    """Returns the addresses of one page of each kind."""
    browser.open(start)
    browser.wait_for(f"{ROWS} > 0")
    keys = keys_of(browser)
    run = f"#/run/{keys['a']}"
    fragments = ["#/", run, f"{run}/episode/2", f"#/run/{keys['battery']}", f"#/compare/{keys['a']}/{keys['b']}"]
    return [start + fragment for fragment in fragments]


def open_page(browser, address):
    browser.open(address)
    browser.wait_for("!!document.querySelector('h1')")


def test_every_page_fits_three_widths_in_dark_and_light(browser, shown, serve):
    server = serve(shown)
    for address in pages(browser, server.url):
        open_page(browser, address)
        grounds = set()
        for width in WIDTHS:
            for scheme in ("light", "dark"):
                browser.look(width, scheme)
                assert browser.run("document.documentElement.scrollWidth") <= width
                assert browser.run(OUTSIDE) == []
                grounds.add(browser.run("getComputedStyle(document.body).backgroundColor"))
        assert len(grounds) == 2
        assert browser.run("document.title") not in ("", "Not shown · SimScaleAI")
        assert browser.problems(server.url) == []


def test_the_table_sorts_filters_and_searches(browser, shown, serve):
    browser.look(1400)
    browser.open(serve(shown).url)
    browser.wait_for(f"{ROWS} == 5")
    names = "[...document.querySelectorAll('table.list tbody th a')].map((link) => link.textContent)"
    browser.run("[...document.querySelectorAll('.sort')].find((each) => each.textContent == 'Run').click()")
    assert browser.run(names) == ["a", "b", "battery", "battery/expert", "live"]
    press(browser, "/")
    browser.send("Input.insertText", text="vla")
    assert browser.run(names) == ["b"]
    assert browser.run("document.getElementById('count').textContent") == "1 of 5 runs"
    browser.run("document.activeElement.value = ''; document.activeElement.dispatchEvent(new Event('input'))")
    select = "document.querySelector('[aria-label=\"All states\"]')"
    browser.run(f"{select}.value = 'going on'; {select}.dispatchEvent(new Event('change'))")
    assert browser.run(names) == ["live"]


def press(browser, key):
    text = {"text": key} if len(key) == 1 else {}
    for kind in ("keyDown", "keyUp"):
        browser.send("Input.dispatchKeyEvent", type=kind, key=key, **(text if kind == "keyDown" else {}))


def test_two_runs_are_chosen_with_the_keyboard_and_compared(browser, shown, serve):
    browser.open(serve(shown).url)
    browser.wait_for(f"{ROWS} == 5")
    for name in ("a", "b"):
        browser.run(f"document.querySelector('[aria-label=\"Compare {name}\"]').focus()")
        press(browser, " ")
    browser.run("document.querySelector('#chosen a').click()")
    browser.wait_for("location.hash.startsWith('#/compare') && document.querySelectorAll('tr.discordant').length == 10")
    assert browser.run("document.querySelectorAll('tbody tr')[0].className") == "discordant"
    assert browser.run("document.querySelectorAll('.pair').length") == 2


def test_film_scrubber_events_and_plots_move_together(browser, shown, serve):
    server = serve(shown)
    open_page(browser, pages(browser, server.url)[2])
    browser.wait_for("document.querySelector('video').readyState >= 2")
    event = "[...document.querySelectorAll('.events button')].find((each) => each.textContent.startsWith('grasped'))"
    browser.run(f"{event}.click()")
    browser.wait_for("!document.querySelector('video').seeking")
    assert browser.run("document.querySelector('video').currentTime") == pytest.approx(11.5 / 20)
    assert browser.run("document.querySelector('input[type=range]').value") == "11"
    press(browser, "ArrowRight")
    assert browser.run("document.querySelector('input[type=range]').value") == "12"
    reward = "[...document.querySelectorAll('.quantity')].find((each) => each.textContent.startsWith('reward'))"
    assert browser.run(f"{reward}.querySelector('dd').textContent") == "12.000"
    browser.run("[...document.querySelectorAll('.events button')].at(-1).click()")
    browser.wait_for("!document.querySelector('video').seeking")
    assert browser.run("document.querySelector('input[type=range]').value") == "30"  # after the last step
    assert browser.run("document.querySelector('video').currentTime") == pytest.approx(30.5 / 20)
    assert browser.run(f"{reward}.querySelector('dd').textContent") == "—"
    browser.run("document.querySelector('video').currentTime = 0; document.querySelector('video').play()")
    browser.wait_for("Number(document.querySelector('input[type=range]').value) > 20")
    assert browser.problems(server.url) == []


def test_a_run_that_goes_on_is_seen_to_move(browser, runs, serve):
    folder = write_run(runs / "live", "++-", planned=10, record=replace(RECORD, summary=None))
    server = serve(runs)
    browser.open(server.url)
    browser.wait_for("document.querySelector('.live')?.textContent.startsWith('going on: 3 of 10')")
    append_result(folder / EPISODES_FILE, episode(3, 3, "+"))
    browser.wait_for("document.querySelector('.live').textContent.startsWith('going on: 4 of 10')")
    browser.run("document.querySelector('tbody a').click()")
    browser.wait_for("document.querySelector('.rate b')?.textContent == '75.0 %'")
    append_result(folder / EPISODES_FILE, episode(4, 4, "+"))
    browser.wait_for("document.querySelector('.rate b').textContent == '80.0 %'")
    replace(with_summary(RECORD, "++-++"), resolved=replace(RECORD.resolved, episodes=5)).write(folder)
    browser.wait_for("document.getElementById('progress').textContent.startsWith('complete')")
    assert browser.run(ROWS) == 5
    assert browser.problems(server.url) == []


def test_a_hostile_run_executes_nothing(browser, runs, make_run, serve):
    attack = "</script><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    failing = replace(episode(0, 0, "-", attack), instruction=attack, stage=attack, target=attack)
    make_run(
        "a" + attack.replace("/", ""), "-", policy={"model": attack}, fingerprint={attack: attack},
        environment={"env_id": attack, "success": attack}, interventions={attack: attack}, filmed=[0],
    )  # fmt: skip
    write_run(runs / "b", "-", record=replace(RECORD, summary=None), results=[failing])
    (runs / "b" / "bad").mkdir()
    (runs / "b" / "bad" / RECORD_FILE).write_text(attack)
    server = serve(runs)
    browser.open(server.url)
    browser.wait_for(f"{ROWS} == 2")
    keys = keys_of(browser).values()
    addresses = ["#/", *(f"#/run/{key}" for key in keys), *(f"#/run/{key}/episode/0" for key in keys)]
    for address in (*addresses, f"#/compare/{'/'.join(keys)}", f"#/run/{attack}"):
        open_page(browser, server.url + address)
        assert browser.run("document.querySelectorAll('main script, main img').length") == 0
        assert browser.run("document.title") != "owned"
        if attack not in address:
            assert browser.problems(server.url) == []


def test_the_pages_open_from_disk(browser, shown, tmp_path, capsys):
    assert main([str(shown), "--output", str(tmp_path / "site")]) == 0
    assert "5 runs" in capsys.readouterr().out
    assert main([str(shown), "--output", str(tmp_path / "site")]) == 2  # nothing is overwritten
    start = (tmp_path / "site" / "index.html").as_uri()
    for address in pages(browser, start):
        open_page(browser, address)
        assert browser.run("document.title") != "Not shown · SimScaleAI"
        assert browser.problems(start.rpartition("/")[0]) == []
    film = """new Promise((done) => {
        const video = document.querySelector("video");
        video.onseeked = () => done(video.currentTime);
        video.currentTime = 1;
    })"""
    assert browser.run(film) == pytest.approx(1)
