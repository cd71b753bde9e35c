"""The report in a real browser, headless Chromium, driven over a pipe: nothing but the browser is needed."""

import base64
import json
import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from battery_folders import BATTERY, FALLING, write_battery, write_expert
from PIL import Image

from eval.episodes.battery import CONTROL
from eval.report import __main__ as report
from eval.runs.media_paths import frame_path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]


class Browser:
    """One page in headless Chromium, over the DevTools protocol."""

    def __init__(self, profile):
        to_browser, self.requests = os.pipe()
        self.replies, from_browser = os.pipe()
        flags = "--headless --no-sandbox --disable-gpu --remote-debugging-pipe --disable-dev-shm-usage"
        script = f'exec "$0" {flags} --user-data-dir="$1" 3<&{to_browser} 4>&{from_browser}'
        self.process = subprocess.Popen(
            ["bash", "-c", script, CHROMIUM, str(profile)],
            pass_fds=(to_browser, from_browser),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.number, self.buffer, self.events, self.session = 0, b"", [], None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.requests, json.dumps(message).encode() + b"\0")
        while True:
            reply = self.receive()
            if reply.get("id") == self.number:
                assert "error" not in reply, reply
                return reply["result"]
            self.events.append(reply)

    def receive(self):
        while b"\0" not in self.buffer:
            received = os.read(self.replies, 1 << 16)
            assert received, "the browser has gone"
            self.buffer += received
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def open(self, path):
        self.events.clear()
        self.send("Page.navigate", url=path.absolute().as_uri())
        while self.run("document.readyState + location.protocol") != "completefile:":
            time.sleep(0.05)

    def run(self, code):
        """Returns what a JavaScript expression, maybe a promise, gives."""
        reply = self.send("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in reply, reply
        return reply["result"].get("value")

    def look(self, width, scheme="light", height=900):
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path):
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def problems(self):
        """Returns what the console says, and every request that is not for the page itself."""
        self.run("0")
        texts = [json.dumps(event["params"]) for event in self.events if _is_problem(event)]
        urls = [event["params"]["request"]["url"] for event in self.events if event["method"] == _REQUEST]
        return texts + [url[:80] for url in urls[1:] if not url.startswith(("data:", "blob:null/"))]

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        os.close(self.requests)
        os.close(self.replies)


_REQUEST = "Network.requestWillBeSent"


def _is_problem(event):
    return event["method"] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


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
