"""The command `policies.serve` as users meet it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import types
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from websockets.sync.client import connect

from envs.registration import find_environment
from policies import serve
from policies.foreign.openpi.announcement import EXTENSION, Announcement, episode_part
from policies.foreign.openpi.codec import pack, unpack
from policies.registry import make_policy
from policies.serve import ServeConfig, main
from policies.serving.server import Traffic

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/guides/served_vla.md").read_text()


@contextmanager
def served(*words, folder=ROOT, **variables):
    """Run the command; yield its process, port, and the lines that it printed."""
    command = [sys.executable, "-m", "policies.serve", *words, "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("access"):
            break
    found = re.search(r"at ws://127\.0\.0\.1:(\d+);", "".join(lines))
    assert found, "".join(lines)
    try:
        yield process, int(found[1]), "".join(lines)
    finally:
        process.kill()
        process.communicate()


@contextmanager
def connected(port):
    """Yield a connection, and what the server says about its policy."""
    with connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None) as connection:
        yield connection, Announcement.from_json(unpack(connection.recv())[EXTENSION])


def ask(connection, request):
    connection.send(pack(request))
    return unpack(connection.recv(timeout=120))


def random_observations(needs, count):
    rng = np.random.default_rng(0)
    return [
        {key: rng.normal(size=layout.size).astype(np.float32) for key, layout in needs.vectors.items()}
        | {key: rng.integers(0, 256, (*size, 3), dtype=np.uint8) for key, size in needs.cameras.items()}
        for _ in range(count)
    ]


def test_a_checkpoint_serves_without_an_environment_what_it_gives_in_process():
    policy = make_policy("bc-pick-place", spec=None)
    seen = random_observations(policy.needs, 5)
    with served("--model", "bc-pick-place") as (process, port, printed), ExitStack() as stack:
        assert f"identity  {policy.identity}" in printed
        assert "programs on this machine" in printed
        clients = [stack.enter_context(connected(port)) for _ in range(3)]
        assert clients[0][1].identity == policy.identity
        assert clients[0][1].needs == policy.needs
        assert clients[0][1].action.meaning == policy.needs.action
        for call, each in enumerate(seen):
            for seed, (connection, _) in enumerate(clients):
                reply = ask(connection, each | episode_part(f"e{seed}", seed, call))
                if call == 0:
                    policy.reset(np.array([seed]), [seed], [""])
                rows = {key: value[None] for key, value in each.items()}
                assert reply["actions"].tobytes() == policy.predict(rows, np.array([seed]))[0].tobytes()
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=120)
        assert "stopped after 15 requests" in rest
        assert process.returncode == 0


def test_a_function_serves_in_its_environment(tmp_path):
    (tmp_path / "still.py").write_text("def act(observation):\n    return observation['state'][:4] * 0\n")
    with served("--model", "still.py:act", "--env", "reach", folder=tmp_path) as (process, port, printed):
        assert "gripper" in printed
        with connected(port) as (connection, told):
            assert told.action.names[-1] == "gripper"
            (seen,) = random_observations(told.needs, 1)
            assert ask(connection, {**seen, "prompt": "go"})["actions"].tolist() == [[0, 0, 0, 0]]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)
        assert process.returncode == 0


def test_our_own_client_gets_the_actions_of_the_process_in_every_slot(tmp_path, monkeypatch):
    (tmp_path / "noisy.py").write_text(
        "import numpy as np\n\n\nclass Noisy:\n    def reset(self, seed, instruction):\n"
        "        self.rng = np.random.default_rng(seed)\n\n    def act(self, observation):\n"
        "        return self.rng.normal(size=(2, 4)) + observation['state'].sum()\n\n\nNoisy.needs = {'state': None}\n"
    )
    monkeypatch.chdir(tmp_path)
    spec, slots = find_environment("reach").offer(), np.arange(3)
    with served("--model", "noisy.py:Noisy", "--env", "reach", folder=tmp_path) as (_, port, _):
        here, there = (make_policy(model, spec=spec) for model in ("noisy.py:Noisy", f"ws://127.0.0.1:{port}"))
        assert there.identity == here.identity
        answers = []
        for policy in (here, there):
            policy.reset(slots, [5, 6, 7], ["go"] * 3)
            for chosen in (slots, slots[:2], slots[1:], slots):
                rows = {"state": np.full((len(chosen), spec.vectors["state"].size), 0.5, np.float32)}
                answers.append(policy.predict(rows, chosen).tobytes())
            policy.close()
        assert answers[:4] == answers[4:]


@pytest.mark.slow
def test_a_second_interrupt_ends_a_server_whose_policy_hangs(tmp_path):
    (tmp_path / "hangs.py").write_text(
        "import pathlib, time\n\n\ndef act(observation):\n    pathlib.Path('asked').touch()\n    time.sleep(1000)\n"
    )
    words = ("--model", "hangs.py:act", "--env", "reach")
    with served(*words, folder=tmp_path) as (process, port, _), connected(port) as (connection, told):
        (seen,) = random_observations(told.needs, 1)
        connection.send(pack({**seen, "prompt": "go"}))
        while not (tmp_path / "asked").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert "Ctrl-C again" in process.stdout.readline()
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == -signal.SIGINT


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "expected --model, got none"),
        ("--model scripted", "expected --env with --model scripted"),
        ("--model nonsense", "Unknown policy 'nonsense'"),
        ("--model host:expert --env reach", "cannot be served"),
        ("--model vla --port 70000", "expected --port from 0 to 65535, got 70000"),
        ("--model vla --host 0.0.0.0", "expected an API key to listen at 0.0.0.0"),
        ("--model vla --api-key-file missing.txt", "cannot use missing.txt"),
        ("--model vla --env reach", "no shipped 'vla' checkpoint serves SimScale/Reach-v0"),
        ("--model random --env reach --host no.such.host.invalid --api-key-file key", "cannot listen at no.such.host"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    Path("key").write_text("sesame\n")
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("key", ["", "two\nlines", "ö"])
def test_a_key_that_no_header_can_hold_is_a_mistake(tmp_path, capsys, key):
    (tmp_path / "key").write_text(key)
    assert main(["--model", "vla", "--api-key-file", str(tmp_path / "key")]) == 2
    assert "expected an API key of printable ASCII characters" in capsys.readouterr().err


def test_the_traffic_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr(serve, "_SECONDS_BETWEEN_REPORTS", 10.0)
    text = serve._traffic_text(Traffic(requests=10, batches=2, clients=3), Traffic(requests=110, batches=22, clients=4))
    assert text.endswith("  10.0 requests/s, 4 clients, 5.0 requests a batch")


def test_an_open_address_says_what_that_means():
    said = serve._access(ServeConfig(host="0.0.0.0"))  # noqa: S104
    assert "every machine that can reach 0.0.0.0, with the API key; nothing is encrypted" in said


def test_a_port_in_use_is_a_mistake(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["--model", "random", "--env", "reach", "--port", port]) == 2
    assert f"cannot listen at 127.0.0.1, port {port}" in capsys.readouterr().err


class WebsocketClientPolicy:
    """Stands for openpi's client, which needs another NumPy. `benchmarks.peers.openpi_check` runs the real one."""

    def __init__(self, host, port):
        self._opened = connect(f"ws://{host}:{port}", compression=None, max_size=None)
        self._connection = self._opened.__enter__()
        self._metadata = unpack(self._connection.recv())

    def get_server_metadata(self):
        return self._metadata

    def infer(self, observation):
        self._connection.send(pack(observation))
        return unpack(self._connection.recv())


@pytest.mark.slow
def test_the_client_of_the_guide_gets_a_chunk(monkeypatch, capsys):
    section = GUIDE[GUIDE.index("## Serve a policy") :]
    command, code = re.findall(r"^```(?:python)?\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[:2]
    module = types.ModuleType("openpi_client.websocket_client_policy")
    module.WebsocketClientPolicy = WebsocketClientPolicy
    monkeypatch.setitem(sys.modules, "openpi_client", types.ModuleType("openpi_client"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    words = command.split()
    assert words[:3] == ["python", "-m", "policies.serve"]
    with served(*words[3:]) as (_, port, _):
        namespace = {}
        exec(code.replace("port=8000", f"port={port}"), namespace)  # noqa: S102
        namespace["client"]._opened.__exit__(None, None, None)
    assert capsys.readouterr().out.splitlines() == ["{'front': [96, 96], 'wrist': [96, 96]}", "(8, 4)"]
