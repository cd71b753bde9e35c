"""Release check: our client against openpi's own server, and our messages and images against openpi-client's.

openpi's server and `openpi-client` run in an interpreter of their own. The table says, for each comparison, how many
cases there were and how many were equal:

* messages that `openpi_client.msgpack_numpy` packs, and images that `openpi_client.image_tools` resizes;
* episodes of a small policy with an image behind openpi's server, against the same policy in this process: with one
  and with 16 episodes at a time, with two workers, with a policy that raises in some episodes, and after kill -9 of the
  server and --resume;
* the same episodes behind RoboArena's server.

python -m venv peer && peer/bin/pip install 'numpy<2' openpi-client==0.1.2 websockets
curl -O https://raw.githubusercontent.com/Physical-Intelligence/openpi/main/src/openpi/serving/websocket_policy_server.py
git clone https://github.com/robo-arena/roboarena
python -m benchmarks.peers.openpi_server --python peer/bin/python --server websocket_policy_server.py \
    --roboarena roboarena
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_connection, socket
from threading import Thread
from time import sleep
from typing import Any

import numpy as np

from benchmarks.tables import write_csv
from eval.rollout import RolloutConfig, run
from eval.runs.reading import read_run
from policies.foreign.openpi.codec import pack, unpack
from policies.foreign.openpi.images import resize_with_pad

EPISODES = 50

THEIRS = """
import base64, json, sys
import numpy as np
from openpi_client import image_tools, msgpack_numpy

rng = np.random.default_rng(0)
KINDS = ("bool", "uint8", "int16", "int64", "uint32", "float16", "float32", "float64", ">f4")

def value(depth):
    kind = rng.integers(8 if depth else 6)
    if kind < 3:
        shape = tuple(rng.integers(0, 5, size=rng.integers(0, 4)))
        return (255 * rng.normal(size=shape)).astype(KINDS[rng.integers(len(KINDS))])
    if kind < 6:
        scalars = np.float32(0.1), np.int64(-7), np.bool_(True), np.float64(0.25), 7, -0.5, None, True, "grün", b"raw"
        return scalars[rng.integers(len(scalars))]
    inner = [value(depth - 1) for _ in range(rng.integers(3))]
    return inner if kind == 6 else {str(number): each for number, each in enumerate(inner)}

def text(data):
    return base64.b64encode(data).decode()

for _ in range(500):
    frame = msgpack_numpy.packb({"x": value(2), "y": value(2)})
    print(json.dumps({"frame": text(frame)}))
for _ in range(300):
    old, new = rng.integers(8, 400, size=2).tolist(), rng.integers(8, 300, size=2).tolist()
    if min(old) / max(old) < 0.1 or min(new) / max(new) < 0.1:
        continue  # openpi-client cannot draw what becomes less than a pixel wide
    image = rng.integers(0, 256, (*old, 3), dtype=np.uint8)
    resized = image_tools.resize_with_pad(image, *new)
    sizes = {"old": old, "new": new}
    print(json.dumps({**sizes, "image": text(image.tobytes()), "resized": text(resized.tobytes())}))
"""
"""Prints messages and images of openpi-client as lines of JSON."""

SERVER = """
import importlib.util, sys
import small_policy

spec = importlib.util.spec_from_file_location("websocket_policy_server", sys.argv[1])
server = importlib.util.module_from_spec(spec)
spec.loader.exec_module(server)

class Policy:
    def infer(self, request):
        return {"actions": small_policy.chunk(request["observation/state"], request["observation/image"])}

server.WebsocketPolicyServer(Policy(), "127.0.0.1", int(sys.argv[2]), {"policy": "small"}).serve_forever()
"""

ROBOARENA_SERVER = """
import sys
sys.path.insert(0, sys.argv[1])
import small_policy
from roboarena.policy_server import PolicyServerConfig, WebsocketPolicyServer

class Policy:
    def infer(self, request):
        return {"actions": small_policy.chunk(request["observation/state"], request["observation/image"])}

    def reset(self, request):
        pass

config = PolicyServerConfig(image_resolution=(32, 32), needs_wrist_camera=False, n_external_cameras=0)
WebsocketPolicyServer(Policy(), config, "127.0.0.1", int(sys.argv[2])).serve_forever()
"""

POLICY = """
import os
import numpy as np

def chunk(state, image):
    if "RAISES" in os.environ and state[4] > 0.1:
        raise ValueError("the goal is too far to the left")
    way = (state[3:].astype(np.float64) - state[:3]) / 0.025
    action = np.append(way, 1.0) + (int(image.sum()) % 97) / 970
    return np.stack([action, action / 2]).clip(-1, 1).astype(np.float32)
"""

TWIN = """
import small_policy
from policies.foreign.openpi.images import resize_with_pad

def act(observation):
    image = resize_with_pad(observation["front"], (32, 32))
    state = observation["state"]
    return small_policy.chunk(state[14:20], image)

act.needs = {"state": None, "front": (40, 56)}
"""

ADAPTER = """
[[images]]
key = "observation/image"
camera = "front"
drawn = [40, 56]
size = [32, 32]

[[vectors]]
key = "observation/state"
parts = [{ vector = "state", entries = ["ee_position", "goal_position"] }]

[action]
size = 4
"""


Row = dict[str, object]
"""A row of the table."""


def compare_messages(python: Path, folder: Path) -> list[Row]:
    """Compare messages and images with those of openpi-client."""
    (folder / "theirs.py").write_text(THEIRS)
    done = subprocess.run([python, "theirs.py"], cwd=folder, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    frames = [base64.b64decode(line["frame"]) for line in lines if "frame" in line]
    images = [line for line in lines if "image" in line]
    same = sum(pack(unpack(frame)) == frame for frame in frames)
    return [
        {"compared": "messages", "cases": len(frames), "equal": same},
        {"compared": "resized images", "cases": len(images), "equal": sum(map(_is_equal, images))},
    ]


def _is_equal(line: dict[str, Any]) -> bool:
    image = np.frombuffer(base64.b64decode(line["image"]), np.uint8).reshape(*line["old"], 3)
    return resize_with_pad(image, tuple(line["new"])).tobytes() == base64.b64decode(line["resized"])


class Theirs:
    """A server of others with the small policy, in an interpreter of its own."""

    def __init__(self, python: Path, script: str, source: Path) -> None:
        """Prepare to start `script`, which imports the server from `source`."""
        with socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}"
        self._command = [str(python), script, str(source), str(self.port)]

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Yield the process of the server, which is killed at the end."""
        with subprocess.Popen(self._command, stderr=subprocess.DEVNULL) as process:
            try:
                self._wait()
                yield process
            finally:
                process.kill()

    def _wait(self) -> None:
        for _ in range(200):
            try:
                create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                sleep(0.05)
        raise TimeoutError("the server does not start")


def episodes(output: Path, model: str, **settings: Any) -> list[str]:
    """Run the episodes, and return the line of each."""
    run(RolloutConfig(model=model, env="reach", episodes=EPISODES, output=output, quiet=True, **settings))
    return (output / "episodes.jsonl").read_text().splitlines()


def compare_runs(theirs: Theirs, name: str, adapter: str) -> list[Row]:
    """Compare runs with the server with a run in this process. `name` says what the policy does."""
    expected = episodes(Path(f"{name}-here"), "twin.py:act")
    rows = []
    with theirs.running():
        for shape in ({"num_envs": 1}, {"num_envs": 16}, {"num_envs": 8, "workers": 2}):
            text = ", ".join(f"{value} {key}" for key, value in shape.items())
            got = episodes(Path(f"{name}-{len(rows)}"), theirs.url, adapter=adapter, **shape)
            rows.append(_row(f"episodes, {name}, {text}", expected, got))
    return rows


def compare_after_kill(theirs: Theirs, adapter: str) -> list[Row]:
    """Kill the server in the middle of a run, resume the run with another one, and compare it."""
    expected, output = (Path("acts-here") / "episodes.jsonl").read_text().splitlines(), Path("killed")
    with theirs.running() as process:
        killer = Thread(target=_kill_in_the_middle, args=(process, output / "episodes.jsonl"))
        killer.start()
        episodes(output, theirs.url, adapter=adapter, num_envs=8)
        killer.join()
    lost = sum(each.status == "error" for each in read_run(output).results)
    with theirs.running():
        got = episodes(output, theirs.url, adapter=adapter, num_envs=8, resume=True)
    return [_row(f"episodes, server killed, {lost} errors resumed", expected, got)]


def _kill_in_the_middle(process: subprocess.Popen[bytes], log: Path) -> None:
    while not (log.exists() and log.read_bytes().count(b"\n") >= EPISODES // 5):
        sleep(0.01)
    process.send_signal(signal.SIGKILL)


def _row(text: str, expected: list[str], got: list[str]) -> Row:
    successes = sum(json.loads(line)["status"] == "success" for line in expected)
    equal = sum(one == other for one, other in zip(expected, got, strict=True))
    return {"compared": text, "cases": len(expected), "equal": equal, "successes": successes}


def main() -> int:
    """Run all comparisons, write the table, and return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", type=Path, required=True, help="interpreter with openpi-client")
    parser.add_argument("--server", type=Path, required=True, help="websocket_policy_server.py of openpi")
    parser.add_argument("--roboarena", type=Path, required=True, help="checkout of RoboArena")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/openpi_server.csv"))
    arguments = parser.parse_args()
    given = (arguments.python, arguments.server, arguments.roboarena, arguments.output)
    python, server, roboarena, output = (path.absolute() for path in given)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {"twin.py": TWIN, "small_policy.py": POLICY, "own.toml": ADAPTER}
        files |= {"openpi_server.py": SERVER, "roboarena_server.py": ROBOARENA_SERVER}
        for file, source in files.items():
            (folder / file).write_text(source)
        rows = compare_messages(python, folder)
        os.chdir(folder)
        sys.path.insert(0, name)
        os.environ["PYTHONPATH"] = os.pathsep.join([name, *sys.path[1:2], os.environ.get("PYTHONPATH", "")])
        theirs = Theirs(python, "openpi_server.py", server)
        rows += compare_runs(theirs, "acts", "own.toml")
        rows += compare_after_kill(theirs, "own.toml")
        rows += compare_runs(Theirs(python, "roboarena_server.py", roboarena), "roboarena", "own.toml")
        os.environ["RAISES"] = "1"
        rows += compare_runs(theirs, "raises", "own.toml")
    write_csv(output, rows)
    print(output.read_text())
    return 0 if all(row["cases"] == row["equal"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
