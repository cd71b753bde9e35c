"""Release check: with --adapter libero, openpi's server gets what the loop of openpi's example for LIBERO sends it.

The plain loop runs in the interpreter of the suite, with the package's own cameras at every step, and with
`image_tools` of openpi-client. It begins each episode as our suite does. Actions depend on the number of calls alone.
The state may differ by rounding, since ours is float32. Images must be equal in all pixels to those that the package
draws at the end of the step. By itself, the package draws them some physics steps earlier; the table says how many
pixels of ours differ from those.

python -m benchmarks.peers.openpi_libero --python PATH --server websocket_policy_server.py --libero-python PATH
(`--python` and `--server` as for benchmarks.peers.openpi_server)
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.peers.openpi_server import Theirs
from benchmarks.tables import write_csv
from eval.rollout import RolloutConfig, run

SERVER = """
import importlib.util, sys
import numpy as np
import open_loop

spec = importlib.util.spec_from_file_location("websocket_policy_server", sys.argv[1])
server = importlib.util.module_from_spec(spec)
spec.loader.exec_module(server)

class Policy:
    calls = 0

    def infer(self, request):
        np.savez(f"server-{self.calls}.npz", **{key.replace("/", "."): value for key, value in request.items()})
        self.calls += 1
        return {"actions": open_loop.chunk(self.calls - 1)}

server.WebsocketPolicyServer(Policy(), "127.0.0.1", int(sys.argv[2]), {"policy": "open loop"}).serve_forever()
"""

OPEN_LOOP = """
import numpy as np

def chunk(call):
    return np.random.default_rng(call).uniform(-1, 1, (10, 7)).astype(np.float32)
"""

EXAMPLE = """
import importlib.util, os, sys
import numpy as np
from libero.libero import benchmark, get_libero_path
from libero.libero.envs import OffScreenRenderEnv
from robosuite.utils.transform_utils import quat2axisangle
import open_loop

group, place, seed, calls, image_tools, way = sys.argv[1], *map(int, sys.argv[2:5]), *sys.argv[5:]
spec = importlib.util.spec_from_file_location("image_tools", image_tools)
tools = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tools)
suite = benchmark.get_benchmark_dict()["libero_" + group]()
task = suite.get_task(place)
path = os.path.join(get_libero_path("bddl_files"), task.problem_folder, task.bddl_file)
env = OffScreenRenderEnv(bddl_file_name=path, camera_heights=256, camera_widths=256)
env.seed(seed)
env.reset()
observation = env.set_init_state(suite.get_task_init_states(place)[seed])
for _ in range(10):
    observation, _, _, _ = env.step([0.0] * 6 + [-1.0])

def sent(image):
    return tools.convert_to_uint8(tools.resize_with_pad(np.ascontiguousarray(image[::-1, ::-1]), 224, 224))

for call in range(calls):
    if way == "redrawn":  # which changes when the package draws the next ones
        observation = env.env._get_observations(force_update=True)
    hand = observation["robot0_eef_pos"], quat2axisangle(observation["robot0_eef_quat"].copy())
    request = {
        "observation.image": sent(observation["agentview_image"]),
        "observation.wrist_image": sent(observation["robot0_eye_in_hand_image"]),
        "observation.state": np.concatenate([*hand, observation["robot0_gripper_qpos"]]),
        "prompt": str(task.language),
    }
    np.savez(f"{way}-{call}.npz", **request)
    for action in open_loop.chunk(call)[:5]:
        observation, _, _, _ = env.step(action.tolist())
"""


def compare(call: int) -> dict[str, object]:
    """Return a row of the table: what the server got and what the example sends in one call."""
    got, sent, redrawn = (np.load(f"{source}-{call}.npz") for source in ("server", "sampled", "redrawn"))
    differing = (got["observation.image"] != sent["observation.image"]).any(axis=-1)
    images = ("observation.image", "observation.wrist_image")
    state = np.abs(got["observation.state"] - sent["observation.state"]).max()
    return {
        "call": call,
        "keys": sorted(got.files) == sorted(sent.files),
        **{name: bool(np.array_equal(got[name], redrawn[name])) for name in images},
        "prompt": str(got["prompt"]) == str(sent["prompt"]),
        "state": bool(state < 1e-6),
        "largest_difference_of_state": f"{state:.1e}",
        "pixels_unlike_those_drawn_earlier": f"{differing.mean():.4f}",
    }


def main() -> int:
    """Run both loops, write a table, and return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--server", type=Path, required=True)
    parser.add_argument("--libero-python", type=Path, required=True)
    parser.add_argument("--task", default="spatial/0")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--calls", type=int, default=6)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/openpi_libero.csv"))
    arguments = parser.parse_args()
    given = (arguments.python, arguments.server, arguments.libero_python, arguments.output)
    python, server, libero_python, output = (path.absolute() for path in given)
    find = "import openpi_client.image_tools as tools; print(tools.__file__)"
    tools = subprocess.run([python, "-c", find], capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for file, source in (("server.py", SERVER), ("open_loop.py", OPEN_LOOP), ("example.py", EXAMPLE)):
            Path(file).write_text(source)
        words = [*arguments.task.split("/"), str(arguments.seed), str(arguments.calls), tools]
        with ExitStack() as stack:
            examples = [
                stack.enter_context(subprocess.Popen([libero_python, "example.py", *words, way]))
                for way in ("sampled", "redrawn")
            ]
            theirs = Theirs(python, "server.py", server)
            with theirs.running():
                run(
                    RolloutConfig(
                        model=theirs.url,
                        adapter="libero",
                        env=f"libero/{arguments.task}",
                        env_python=libero_python,
                        seeds=(arguments.seed,),
                        output=Path("run"),
                    )
                )
        assert not any(example.returncode for example in examples)
        rows = [compare(call) for call in range(arguments.calls)]
    write_csv(output, rows)
    print(output.read_text())
    return 0 if all(value is not False for row in rows for value in row.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
