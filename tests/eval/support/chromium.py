"""Headless Chromium, driven over a pipe: nothing but the browser is needed."""

import base64
import json
import os
import shutil
import subprocess
import time

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


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

    def open(self, page):
        """Opens a file, or an address."""
        self.events.clear()
        url = page if isinstance(page, str) else page.absolute().as_uri()
        self.send("Page.navigate", url="about:blank")  # else another fragment of the same page would not load it again
        self.send("Page.navigate", url=url)
        loaded = f"complete{url.partition(':')[0]}:"
        while self.run("document.readyState + location.protocol") != loaded:
            time.sleep(0.05)

    def wait_for(self, code, seconds=30):
        """Waits until a JavaScript expression gives something true, and returns it."""
        end = time.monotonic() + seconds
        while not (found := self.run(code)):
            assert time.monotonic() < end, f"never true: {code}\n{self.run('document.body.innerText')[:500]}"
            time.sleep(0.02)
        return found

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

    def problems(self, own="blob:null/"):
        """Returns what the console says, and every request that is for neither the page nor what begins with `own`."""
        self.run("0")
        texts = [json.dumps(event["params"]) for event in self.events if _is_problem(event)]
        urls = [event["params"]["request"]["url"] for event in self.events if event["method"] == _REQUEST]
        return texts + [url[:80] for url in urls[1:] if not url.startswith(("data:", own, "about:"))]

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        os.close(self.requests)
        os.close(self.replies)


_REQUEST = "Network.requestWillBeSent"


def _is_problem(event):
    return event["method"] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
