"""Records an exchange between openpi-client and openpi's server, in the interpreter that has both.

python record_exchange.py websocket_policy_server.py > exchange.json
"""

import base64
import importlib.util
import json
import math
import sys
import threading
import time

import numpy as np
import websockets.sync.client
from openpi_client import image_tools, msgpack_numpy

PORT = 18765
SOURCE = "openpi-client 0.1.2, and src/openpi/serving/websocket_policy_server.py of openpi 15a9616"


class Policy:
    """Answers once, then raises."""

    calls = 0

    def infer(self, request):
        self.calls += 1
        if self.calls == 2:
            raise ValueError("the policy has stumbled")
        actions = np.arange(70, dtype=np.float64).reshape(10, 7) / 70 + request["observation/state"].sum()
        return {"actions": actions, "policy_timing": {"infer_ms": 12.5}}


def serve(file):
    spec = importlib.util.spec_from_file_location("websocket_policy_server", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    server = module.WebsocketPolicyServer(Policy(), "127.0.0.1", PORT, {"model": "small", "action_horizon": 10})
    threading.Thread(target=server.serve_forever, daemon=True).start()
    time.sleep(1)


def quat2axisangle(quat):
    w = min(max(quat[3], -1.0), 1.0)
    den = math.sqrt(1.0 - w * w)
    return np.zeros(3) if math.isclose(den, 0.0) else (quat[:3] * 2.0 * math.acos(w)) / den


def text(data):
    return base64.b64encode(data).decode()


def resized(image):
    return image_tools.convert_to_uint8(image_tools.resize_with_pad(image, 16, 16))


def main(file):
    serve(file)
    rng = np.random.default_rng(7)
    images = {camera: rng.integers(0, 256, (24, 32, 3), dtype=np.uint8) for camera in ("agentview", "wrist")}
    quaternion = rng.normal(size=4)
    quaternion /= np.linalg.norm(quaternion)
    state = np.concatenate([rng.normal(size=10), quaternion, rng.normal(size=2)]).astype(np.float32)
    wide = state.astype(np.float64)
    request = {
        "observation/image": resized(images["agentview"]),
        "observation/wrist_image": resized(images["wrist"]),
        "observation/state": np.concatenate([wide[7:10], quat2axisangle(wide[10:14]), wide[14:]]).astype(np.float32),
        "prompt": "put the bowl on the plate",
    }
    frame = msgpack_numpy.Packer().pack(request)
    connection = websockets.sync.client.connect(f"ws://127.0.0.1:{PORT}", compression=None, max_size=None)
    received = [connection.recv()]
    for _ in range(2):
        connection.send(frame)
        received.append(connection.recv())
    metadata, reply, error = received
    recorded = {
        "source": SOURCE,
        "images": {camera: text(image.tobytes()) for camera, image in images.items()},
        "state": state.tolist(),
        "metadata": text(metadata),
        "request": text(frame),
        "reply": text(reply),
        "error": error.replace(file, "websocket_policy_server.py").replace(__file__, "policy.py"),
        "actions": msgpack_numpy.unpackb(reply)["actions"].tolist(),
    }
    print(json.dumps(recorded, indent=1))


if __name__ == "__main__":
    main(sys.argv[1])
