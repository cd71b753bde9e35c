"""Learned policies in the loop: an episode is the same whatever runs beside it, also with chunks, pixels and noise."""

import pytest

from envs.registration import find_environment
from eval.episodes.loop import rollout
from eval.episodes.plan import DEVELOPMENT_SEEDS, plan_episodes
from eval.execution.assembly import build_environment, build_policy

REACH = find_environment("reach")
PLAN = plan_episodes(4, DEVELOPMENT_SEEDS.start + 500)


@pytest.mark.parametrize("name", ["bc", "bc-image", "vla-mlp", "vla-diffusion"])
def test_results_and_digests_are_equal_for_any_number_of_slots(name, make_checkpoint):
    policy = build_policy(str(make_checkpoint(name)), None, REACH.offer())
    runs = []
    for num_envs in (1, 3):
        env = build_environment(REACH, [policy.needs], num_envs)
        runs.append(rollout(env, policy, PLAN))
    assert len({result.digest for result in runs[0]}) == len(PLAN)
    assert runs[1] == runs[0]
