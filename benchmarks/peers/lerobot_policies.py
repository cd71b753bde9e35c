"""Release check: policies of LeRobot act in our runs exactly as in a plain loop with LeRobot's own code.

Checkpoints of random weights are written by LeRobot: ACT, ACT that averages over its chunks, Diffusion, and VQ-BeT;
more checkpoints can be named. Each acts in our environment, two episodes at once. Then LeRobot's own loop (processors,
`select_action`, one environment) gets the observations of each episode. Every action must be equal to the last bit.

The interpreter needs LeRobot 0.6 and diffusers.

python -m benchmarks.peers.lerobot_policies --python peers/bin/python --output benchmarks/results/lerobot_policies.csv
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.tables import write_csv
from envs.registration import find_environment
from eval.episodes.loop import rollout
from eval.episodes.observer import Observer
from eval.episodes.plan import plan_episodes
from eval.execution.assembly import build_environment, build_policy, closing
from simscaleai.contract import EnvSpec, Needs

IMAGE_SIZE = (96, 96)
THEIRS = """
import json, random, sys
from pathlib import Path
import numpy as np
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.envs.utils import preprocess_observation
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.vqbet.configuration_vqbet import VQBeTConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors

def write(folder, shapes):
    kinds = {"state": FeatureType.STATE, "action": FeatureType.ACTION}
    features = {
        name: PolicyFeature(kinds.get(name.split(".")[-1], FeatureType.VISUAL), tuple(shape))
        for name, shape in shapes.items()
    }
    usual = {
        "input_features": {name: each for name, each in features.items() if name != "action"},
        "output_features": {"action": features["action"]},
        "device": "cpu",
        "push_to_hub": False,
        "pretrained_backbone_weights": None,
    }
    act = {**usual, "dim_model": 64, "dim_feedforward": 64, "n_heads": 2, "chunk_size": 16}
    configs = {
        "ACT": ACTConfig(**act, n_action_steps=8),
        "ACT, average of chunks": ACTConfig(**act, n_action_steps=1, temporal_ensemble_coeff=0.01),
        "Diffusion": DiffusionConfig(
            **usual, n_obs_steps=2, horizon=16, n_action_steps=8, down_dims=(32, 64), num_inference_steps=3
        ),
        "VQ-BeT, one camera": VQBeTConfig(
            **{**usual, "input_features": one_camera(usual["input_features"])},
            n_obs_steps=3, action_chunk_size=4, crop_shape=(84, 84),
        ),
    }
    rng = np.random.default_rng(0)
    for number, (name, config) in enumerate(configs.items()):
        torch.manual_seed(number)
        statistics = {
            name: {
                key: torch.from_numpy(values.astype(np.float32))
                for key, values in drawn(rng, (3, 1, 1) if each.type is FeatureType.VISUAL else each.shape).items()
            }
            for name, each in features.items()
        }
        get_policy_class(config.type)(config).save_pretrained(folder / name)
        for processor in make_pre_post_processors(config, dataset_stats=statistics):
            processor.save_pretrained(folder / name)

def one_camera(features):
    first = next(name for name in features if ".images." in name)
    return {name: each for name, each in features.items() if ".images." not in name or name == first}

def drawn(rng, shape):
    mean, width = rng.normal(size=shape) / 4, rng.uniform(0.5, 1, shape)
    return {"mean": mean, "std": width, "min": mean - width, "max": mean + width}

def loop(folder, episodes):
    config = PreTrainedConfig.from_pretrained(folder)
    config.device = "cpu"
    policy = get_policy_class(config.type).from_pretrained(folder, config=config)
    before, after = make_pre_post_processors(
        config, pretrained_path=folder, preprocessor_overrides={"device_processor": {"device": "cpu"}}
    )
    for path in episodes:
        seen, actions = np.load(path), []
        seed = int(seen["seed"])
        random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
        policy.reset()
        cameras = [key for key in seen.files if key not in ("seed", "state", "actions")]
        for step in range(len(seen["state"])):
            observation = {"agent_pos": seen["state"][step], "pixels": {each: seen[each][step] for each in cameras}}
            batch = {**preprocess_observation(observation), "task": [""]}
            with torch.inference_mode():
                actions.append(after(policy.select_action(before(batch))).numpy()[0])
        equal = [a.tobytes() == b.tobytes() for a, b in zip(np.array(actions), seen["actions"])]
        print(json.dumps([len(equal), sum(equal)]))

if sys.argv[1] == "write":
    write(Path(sys.argv[2]), json.loads(sys.argv[3]))
else:
    loop(sys.argv[2], sys.argv[3:])
"""


class Watcher(Observer):
    """Keeps what was seen and done in each episode."""

    def __init__(self, needs: Needs) -> None:
        """Watch what `needs` names."""
        self.needs = needs
        self.episodes: dict[int, dict[str, list[np.ndarray]]] = {}
        self._running: dict[int, dict[str, list[np.ndarray]]] = {}

    def on_episode_start(self, slot, spec, begun):
        """Begin an episode."""
        self._running[slot] = self.episodes[spec.seed] = defaultdict(list)

    def on_step(self, step):
        """Keep a step."""
        for row, slot in enumerate(step.slots.tolist()):
            for key, rows in {**step.observation, "actions": step.intended}.items():
                self._running[slot][key].append(rows[row].copy())


def run_theirs(python: Path, folder: Path, *words: object) -> list[str]:
    """Run LeRobot's side and return the lines that it prints; one thread, as a host has."""
    script = folder / "theirs.py"
    script.write_text(THEIRS)
    command = ["env", "OMP_NUM_THREADS=1", "HF_HUB_OFFLINE=1", str(python), str(script), *map(str, words)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return [line for line in done.stdout.splitlines() if line.startswith("[")]


def compare(python: Path, checkpoint: Path, arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Let the checkpoint act here and there, and return a row of the table."""
    registration = find_environment(arguments.env)
    spec: EnvSpec = registration.offer()
    policy = build_policy(f"lerobot:{checkpoint}", None, spec, {"python": str(python)})
    watcher = Watcher(policy.needs)
    limit = {"max_episode_steps": arguments.steps}
    with closing(build_environment(registration, [policy.needs], 2, **limit), policy) as env:
        rollout(env, policy, plan_episodes(arguments.seeds), [watcher])
    paths = []
    for seed, seen in watcher.episodes.items():
        paths.append(folder / f"{seed}.npz")
        np.savez(paths[-1], seed=seed, **{key: np.stack(rows) for key, rows in seen.items()})
    counts = [json.loads(line) for line in run_theirs(python, folder, "loop", checkpoint, *paths)]
    steps, equal = map(sum, zip(*counts, strict=True))
    row = {"policy": checkpoint.name, "environment": spec.env_id, "episodes": len(counts), "steps": steps}
    return row | {"equal_actions": equal, "n_action_steps": policy.options["n_action_steps"]}


def main() -> int:
    """Compare, write the table, and return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--env", default="pick-place")
    parser.add_argument("--checkpoints", type=Path, nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/lerobot_policies.csv"))
    arguments = parser.parse_args()
    python, rows = arguments.python.absolute(), []
    spec = find_environment(arguments.env).offer()
    shapes = {f"observation.images.{camera}": (3, *IMAGE_SIZE) for camera in spec.cameras}
    shapes |= {"observation.state": (spec.vectors["state"].size,), "action": (spec.action.size,)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random = folder / "random weights"
        run_theirs(python, folder, "write", random, json.dumps(shapes))
        for checkpoint in [*sorted(random.iterdir()), *(each.absolute() for each in arguments.checkpoints)]:
            rows.append(compare(python, checkpoint, arguments, folder))
            print(*rows[-1].values(), sep="  ", flush=True)
    write_csv(arguments.output, rows)
    return int(any(row["steps"] != row["equal_actions"] for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
