"""A point in the plane behind the API of `TaskVectorEnv`, and policies for it: the loop's tests take no time.

Also tiny checkpoints with random weights, for the real environments.
"""

from dataclasses import replace

import numpy as np
import pytest

from envs.interface import Contract, Feature, Layout

STATE = Layout((Feature("position", 2, "m", "world"),))
TRUTH = Layout((Feature("goal_position", 2, "m", "world"),))


class PointEnv:
    """Moves a point to the origin; strict about what an evaluator may ask of a vector environment."""

    def __init__(self, num_envs, *, cameras=(), terminate_on_success=True, limit=30):
        self.num_envs, self.terminate_on_success, self.limit = num_envs, terminate_on_success, limit
        size = (4, 6) if cameras else None
        self.contract = Contract(
            environments={"Point-v0": "0"},
            state=STATE,
            environment_state=TRUTH,
            cameras=tuple(cameras),
            image_size=size,
        )
        self.qpos, self.qvel = np.zeros((num_envs, 2)), np.zeros((num_envs, 2))
        self.executed_actions = np.zeros((num_envs, 4), dtype=np.float32)
        self.seeds = np.full(num_envs, -1)
        self.steps = np.zeros(num_envs, dtype=int)
        self.ended = np.ones(num_envs, dtype=bool)
        self.begun = np.zeros(num_envs, dtype=bool)
        self.words = np.full(num_envs, None, dtype=object)
        self.targets = np.full(num_envs, None, dtype=object)
        self.simulated_steps = 0
        self.drawn = []
        self.raises = {}
        """Seed to the step at which the simulation raises."""

    def reset(self, *, seed, options):
        mask = options["reset_mask"]
        assert (mask | self.begun).all()
        for slot in np.flatnonzero(mask):
            self.seeds[slot] = -1 if seed[slot] is None else seed[slot]
            self.qpos[slot] = np.random.default_rng(abs(self.seeds[slot])).uniform(-1, 1, 2)
            self.words[slot] = options["instruction"][slot] or f"move {self.seeds[slot] % 3}"
            self.targets[slot] = options["target"][slot]
        self.qvel[mask], self.steps[mask], self.ended[mask], self.begun[mask] = 0, 0, False, True
        return self._observe(), self._info(np.zeros(self.num_envs, dtype=bool))

    def step(self, actions, *, active):
        assert actions.shape == (self.num_envs, 4)
        assert actions.dtype == np.float32
        assert active.any()
        assert not (active & self.ended).any()
        for slot in np.flatnonzero(active):
            if self.raises.get(self.seeds[slot]) == self.steps[slot]:
                raise RuntimeError("the simulation broke")
        self.simulated_steps += int(active.sum())
        finite = np.isfinite(actions).all(axis=1)
        clipped = np.where(finite[:, None], np.clip(actions, -1, 1), 0).astype(np.float32)
        self.executed_actions = np.where(active[:, None], clipped, self.executed_actions)
        self.qvel[active] = 0.2 * clipped[active, :2]
        self.qpos = self.qpos + np.where(active[:, None], self.qvel, 0)
        self.steps += active
        success = self.success() & active
        terminated = active & (~finite | (success & self.terminate_on_success))
        truncated = active & ~terminated & (self.steps >= self.limit)
        self.ended |= terminated | truncated
        lost = (terminated | truncated) & ~success
        failure = np.where(lost, np.where(finite, "never_arrived", "invalid_action"), "").astype(object)
        return self._observe(), success.astype(float), terminated, truncated, self._info(success, failure)

    def success(self):
        return np.linalg.norm(self.qpos, axis=1) < 0.15

    def render_images(self, mask):
        self.drawn.append(mask.copy())
        images = np.zeros((self.num_envs, 4, 6, 3 * len(self.contract.cameras)), dtype=np.uint8)
        images[mask] = (100 + 50 * self.qpos[mask, :1]).astype(np.uint8)[:, :, None, None]
        return images

    def render_frame(self, slot, *, camera="front", size=(480, 480)):
        return np.full((*size, 3), self.steps[slot], dtype=np.uint8)

    def _observe(self):
        return {"state": self.qpos.astype(np.float32), "environment_state": np.zeros((self.num_envs, 2), np.float32)}

    def _info(self, success, failure=None):
        nothing = np.full(self.num_envs, "", dtype=object)
        stage = np.where(self.success(), "at_goal", "away").astype(object)
        failure = nothing if failure is None else failure
        words, targets = self.words.copy(), self.targets.copy()
        return {"success": success, "failure": failure, "stage": stage, "instruction": words, "target": targets}


class Homing:
    """Goes to the origin along a way that depends on the number of its own steps: memory that a test can disturb."""

    def __init__(self, contract):
        self.contract = contract
        self.steps = {}
        self.seeds = {}
        self.asked = []
        self.raises = {}
        """Seed to the step at which `act` raises; the memory of some slots has moved on by then."""

    def reset(self, env_ids, seeds, instructions):
        for slot, seed in zip(env_ids.tolist(), seeds, strict=True):
            self.steps[slot], self.seeds[slot] = 0, seed

    def needs_observation(self, env_ids):
        self.asked.append(env_ids.tolist())
        return np.array([self.steps[slot] % 2 == 0 for slot in env_ids.tolist()])

    def act(self, observation, env_ids):
        assert set(observation) == {*self.contract.vectors, *(["image"] if self.contract.cameras else [])}
        actions = np.zeros((len(env_ids), 4), dtype=np.float32)
        for row, slot in enumerate(env_ids.tolist()):
            if self.raises.get(self.seeds[slot]) == self.steps[slot]:
                raise RuntimeError("the policy broke")
            self.steps[slot] += 1
            x, y = -2.0 * observation["state"][row]
            turn = 0.6 * np.sin(self.steps[slot])
            actions[row, :2] = np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y
        return actions


@pytest.fixture
def make_env():
    return PointEnv


@pytest.fixture
def make_policy():
    """Returns a homing policy for an environment."""
    return lambda env: Homing(env.contract)


REACH = "SimScale/Reach-v0"
VLA = {"image_size": 40, "patch_size": 8, "embed_dim": 32, "num_heads": 2, "num_layers": 2, "state_dim": 20}

LEARNED = {
    "bc": ("bc", {"state_dim": 20, "hidden_dim": 32}, 1),
    "bc-image": ("bc", {"state_dim": 20, "hidden_dim": 32, "use_image": True, "image_size": 40}, 1),
    "vla-mlp": ("vla", VLA | {"action_horizon": 4}, 2),
    "vla-diffusion": ("vla", VLA | {"action_horizon": 4, "action_head_type": "diffusion"}, 4),
}
"""Name to model, arguments, and how many actions of a chunk are executed."""


@pytest.fixture
def make_checkpoint(tmp_path):
    """Writes a checkpoint with random weights whose contract is that of the environment."""

    def make(name, training=None, env_id=REACH):
        import torch

        from envs.digests import profile_digest
        from envs.registration import find_task
        from envs.simulation import load_scene
        from eval.assembly import environment_contract
        from simscaleai.checkpoint import save_checkpoint
        from simscaleai.models.registry import create_model
        from simscaleai.processing import Processor

        model_name, arguments, n_action_steps = LEARNED[name]
        contract = replace(environment_contract(env_id), environment_state=None, language=model_name == "vla")
        if "image_size" in arguments:
            profile = profile_digest(load_scene(find_task(env_id).scene))
            contract = replace(contract, cameras=("front",), image_size=(40, 40), render_profile=profile)
        size = contract.state.size
        arguments = arguments | {"state_dim": size}
        vector = {"min": [-1.0] * size, "max": [1.0] * size, "mean": [0.0] * size, "std": [1.0] * size}
        statistics = {"observation.state": vector, "action": {key: values[:4] for key, values in vector.items()}}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = create_model(model_name, **arguments)
        save_checkpoint(
            tmp_path / name,
            model=model,
            model_name=model_name,
            model_arguments=arguments,
            contract=contract.to_json(),
            processor=Processor.fit(contract.to_json(), statistics),
            training=training or {},
            n_action_steps=n_action_steps,
        )
        return tmp_path / name

    return make
