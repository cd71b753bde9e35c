"""An exchange between openpi-client and openpi's server, replayed: our client sends and reads the same bytes."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from loopback import served

from envs.foreign.suites import libero
from policies.foreign.openpi.adapter import _FOLDER
from policies.foreign.openpi.client import ServedPolicyError
from policies.registry import make_policy
from simscaleai.contract import ActionSpec, EnvSpec, Feature, Layout

RECORDED = json.loads((Path(__file__).parent / "recorded" / "exchange.json").read_text())
FRAMES = {name: base64.b64decode(RECORDED[name]) for name in ("metadata", "request", "reply")}
DETAILS = libero.details("spatial", 5)
NAMES = tuple(DETAILS["action_names"])
SPEC = EnvSpec(
    env_id="libero/spatial/0",
    digest="0",
    vectors={"state": Layout(tuple(Feature(*each) for each in DETAILS["vectors"]["state"]["features"]))},
    cameras=dict.fromkeys(DETAILS["cameras"]),
    action=ActionSpec(names=NAMES, low=(-1.0,) * 7, high=(1.0,) * 7, meaning=DETAILS["action_meaning"]),
    control_hz=20,
    max_episode_steps=220,
    success="",
    has_instructions=True,
)


def replay(received):
    """Return a handler that answers as openpi's server did, and adds the requests to `received`."""

    def handle(connection):
        received.append(connection.recv())
        connection.send(FRAMES["reply"])
        received.append(connection.recv())
        connection.send(RECORDED["error"])
        connection.close(1011, "Internal server error. Traceback included in previous frame.")

    return handle


def test_our_client_sends_and_reads_what_openpi_client_does(tmp_path):
    adapter = tmp_path / "small.toml"
    text = (_FOLDER / "libero.toml").read_text().replace("[224, 224]", "[16, 16]").replace("[256, 256]", "[24, 32]")
    adapter.write_text(text)
    images = {
        camera: np.frombuffer(base64.b64decode(image), np.uint8).reshape(1, 24, 32, 3)
        for camera, image in RECORDED["images"].items()
    }
    received = []
    with served(replay(received), FRAMES["metadata"]) as port:
        policy = make_policy(f"ws://127.0.0.1:{port}", spec=SPEC, options={"adapter": str(adapter)})
        assert {camera: image.shape[1:3] for camera, image in images.items()} == policy.needs.cameras
        slots = np.array([0])
        policy.reset(slots, [7], ["put the bowl on the plate"])
        seen = {**images, "state": np.float32([RECORDED["state"]])}
        chunks = policy.predict(seen, slots)
        with pytest.raises(ServedPolicyError, match="ValueError: the policy has stumbled"):
            policy.predict(seen, slots)
        policy.close()
    assert received == [FRAMES["request"]] * 2
    np.testing.assert_array_equal(chunks, np.float32([RECORDED["actions"]]))
    assert policy.options["n_action_steps"] == 5
