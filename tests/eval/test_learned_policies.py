"""Learned policies in the loop: an episode is the same whatever runs beside it, also with chunks, pixels and noise."""

from dataclasses import replace

import pytest

from envs import ENVIRONMENTS
from eval.assembly import build_environment, build_policy, environment_contract
from eval.loop import rollout
from eval.plan import DEVELOPMENT_SEEDS, plan_episodes

ENV_ID = ENVIRONMENTS["reach"]
PLAN = plan_episodes(4, DEVELOPMENT_SEEDS.start + 500)
VLA = {"image_size": 40, "patch_size": 8, "embed_dim": 32, "num_heads": 2, "num_layers": 2, "state_dim": 20}

POLICIES = {
    "bc": ("bc", {"state_dim": 20, "hidden_dim": 32}, 1),
    "bc-image": ("bc", {"state_dim": 20, "hidden_dim": 32, "use_image": True, "image_size": 40}, 1),
    "vla-mlp": ("vla", VLA | {"action_horizon": 4}, 2),
    "vla-diffusion": ("vla", VLA | {"action_horizon": 4, "action_head_type": "diffusion"}, 4),
}
"""Name to model, arguments, and how many actions of a chunk are executed."""


@pytest.fixture
def make_checkpoint(tmp_path):
    """Writes a checkpoint with random weights whose contract is that of the environment."""

    def make(name):
        import torch

        from envs.rendering import PROFILE_DIGEST
        from simscaleai.checkpoint import save_checkpoint
        from simscaleai.models.registry import create_model
        from simscaleai.processing import Processor

        model_name, arguments, n_action_steps = POLICIES[name]
        contract = replace(environment_contract(ENV_ID), environment_state=None, language=model_name == "vla")
        if "image_size" in arguments:
            images = {"cameras": ("front",), "image_size": (40, 40), "render_profile": PROFILE_DIGEST}
            contract = replace(contract, **images)
        size = contract.state.size
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
            training={},
            n_action_steps=n_action_steps,
        )
        return tmp_path / name

    return make


@pytest.mark.parametrize("name", POLICIES)
def test_results_and_digests_are_equal_for_any_number_of_slots(name, make_checkpoint):
    policy = build_policy(str(make_checkpoint(name)), None, ENV_ID)
    runs = []
    for num_envs in (1, 3, 16):
        env = build_environment(policy.contract, ENV_ID, num_envs)
        runs.append(rollout(env, policy, PLAN))
    assert len({result.digest for result in runs[0]}) == len(PLAN)
    assert runs[1] == runs[0]
    assert runs[2] == runs[0]
