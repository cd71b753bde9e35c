"""The report in a real browser, headless Chromium, driven over a pipe: nothing but the browser is needed."""

from dataclasses import replace
from pathlib import Path

import pytest
from battery_folders import BATTERY, FALLING, write_battery, write_expert
from chromium import CHROMIUM
from PIL import Image

from eval.episodes.battery import CONTROL
from eval.report import __main__ as report
from eval.runs.media_paths import frame_path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]


@pytest.fixture
def pages(make_run):
    """A report of one run, of three runs, of which two were filmed where they differ, and of a battery."""
    a, b = make_run("a", "++-+" * 5, videos=4), make_run("b", "+-++" * 5, videos=4)
    c = make_run("c", "-" * 20, environment={"env_id": "Other/Task-v0"})
    assert report.main(["a", "--output", "one.html"]) == 0
    assert report.main([str(a), str(b), str(c), "--output", "three.html"]) == 0
    write_expert(write_battery(Path("battery"), FALLING, battery=replace(BATTERY, pair_level=3)))
    for arm in (CONTROL, "light.intensity=1", "light.intensity=5"):
        frame_path(Path("battery"), arm).parent.mkdir(exist_ok=True)
        Image.new("RGB", (96, 192), "gray").save(frame_path(Path("battery"), arm))
    assert report.main(["battery", "--output", "battery.html"]) == 0
    return Path("one.html"), Path("three.html"), Path("battery.html")


WIDTHS = (390, 820, 1440)


def test_layout_fits_three_widths_in_dark_and_light(browser, pages):
    for path in pages:
        browser.look(WIDTHS[0])
        browser.open(path)
        grounds = set()
        for unfolded in (False, True):
            browser.run(
                f"document.querySelectorAll('details').forEach((part) => {{ part.open = {str(unfolded).lower()} }})"
            )
            for width in WIDTHS:
                for scheme in ("light", "dark"):
                    browser.look(width, scheme)
                    assert browser.run("document.documentElement.scrollWidth") <= width
                    assert browser.run(OUTSIDE) == []
                    assert browser.run(CONTRAST) >= 4.5
                    grounds.add(browser.run("getComputedStyle(document.body).backgroundColor"))
        assert len(grounds) == 2
        assert browser.problems() == []


OUTSIDE = """[...document.querySelectorAll("h1, h2, h3, p, dl, video, svg, button, pre")]
    .filter((element) => element.checkVisibility() && !element.closest(".scroll, .frames, .skip, .hidden"))
    .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
    .map((element) => element.outerHTML.slice(0, 80))"""
"""What reaches beyond the window and is not within something that scrolls."""

CONTRAST = """(() => {
    const light = (name) => {
        const probe = document.body.appendChild(document.createElement("i"));
        probe.style.color = `var(${name})`;
        const channels = getComputedStyle(probe).color.match(/[0-9.]+/g).slice(0, 3).map((text) => text / 255);
        probe.remove();
        const [r, g, b] = channels.map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
    };
    const ratio = (a, b) => Math.max(light(a), light(b)) / Math.min(light(a), light(b));
    const grounds = ["--paper", "--wash"];
    return Math.min(...["--ink", "--soft", "--accent"].flatMap((ink) => grounds.map((ground) => ratio(ink, ground))));
})()"""
"""The least contrast of any text, by WCAG 2, which asks for 4.5."""


def test_every_video_plays(browser, pages):
    for path, videos in zip(pages, (4, 8, 0), strict=True):
        browser.open(path)
        played = browser.run(
            """Promise.all([...document.querySelectorAll("video")].map((video) => new Promise((done) => {
                video.addEventListener("ended", () => done(video.currentTime), { once: true });
                video.addEventListener("error", () => done(video.error.message), { once: true });
                video.play().catch((error) => done(String(error)));
            })))"""
        )
        assert played == [pytest.approx(0.5, abs=0.06)] * videos
        assert browser.problems() == []


def test_two_videos_play_at_once(browser, pages):
    browser.open(pages[1])
    code = """(async () => {
        const pair = document.querySelector(".pair"), videos = [...pair.querySelectorAll("video")];
        pair.querySelector("button").click();
        await new Promise((done) => setTimeout(done, 200));
        return videos.map((video) => video.currentTime > 0);
    })()"""
    assert browser.run(code) == [True, True]


def test_everything_is_reached_with_the_keyboard(browser, pages):
    browser.open(pages[0])
    browser.run("document.querySelector('details.episodes').open = true")
    reached = [press_tab(browser) for _ in range(100)]  # a video's own controls take several steps each
    assert reached[0] == "A Skip to the figures"
    expected = {"BUTTON Copy", "BUTTON Copy command", "SUMMARY All 20 episodes", "INPUT", "DIV Episodes", "VIDEO"}
    assert expected <= set(reached)


def press_tab(browser):
    for kind in ("keyDown", "keyUp"):
        browser.send("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
    return browser.run(
        """(() => {
            const element = document.activeElement;
            const label = element.tagName == "DIV" ? element.ariaLabel : element.textContent;
            return `${element.tagName} ${label}`.trim();
        })()"""
    )


def test_successes_can_be_hidden_and_commands_copied(browser, pages):
    browser.open(pages[0])
    browser.run("document.querySelector('details.episodes').open = true")
    rows = "[...document.querySelectorAll('.episodes tbody tr')].filter((row) => row.checkVisibility()).length"
    assert browser.run(rows) == 20
    browser.run("document.querySelector('.filter input').click()")
    assert browser.run(rows) == 5
    browser.run("window.copied = []; navigator.clipboard.writeText = async (text) => { window.copied.push(text) }")
    browser.run("document.querySelector('.command .copy').click(); document.querySelectorAll('td .copy')[3].click()")
    shown, chosen = browser.run("window.copied")
    assert shown == browser.run("document.querySelector('.command code').textContent")
    assert shown.endswith("--seeds 2")
    assert chosen.endswith("--seeds 3")


def test_a_hostile_run_executes_nothing(browser, make_run):
    attack = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    folder = make_run("a", "+-", videos=2, policy={"model": attack}, fingerprint={attack: attack})
    assert report.main([str(folder), "--output", "page.html"]) == 0
    browser.open(Path("page.html"))
    assert browser.run("document.title").startswith("</script>")
    assert browser.problems() == []
    # Were it not escaped, the page's policy would still stop it.
    Path("page.html").write_text(Path("page.html").read_text().replace("<main", f"{attack}<main"))
    browser.open(Path("page.html"))
    assert browser.run("document.title") != "owned"
    assert browser.problems()
