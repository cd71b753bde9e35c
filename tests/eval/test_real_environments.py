"""The loop on the real environments: what an episode is must not depend on its neighbours."""

import pytest

from envs import ENVIRONMENTS
from eval.assembly import build_environment, build_policy
from eval.loop import rollout
from eval.plan import DEVELOPMENT_SEEDS, plan_episodes
from eval.results import EpisodeResult

FIRST_SEED = DEVELOPMENT_SEEDS.start + 100


def evaluate(model: str, env_id: str, num_envs: int, episodes: int, **options: bool) -> list[EpisodeResult]:
    policy = build_policy(model, None, env_id)
    env = build_environment(policy.contract, env_id, num_envs, **options)
    return rollout(env, policy, plan_episodes(episodes, FIRST_SEED))


@pytest.mark.parametrize("env_id", ENVIRONMENTS.values())
@pytest.mark.parametrize(("model", "episodes"), [("scripted", 18), ("random", 5), ("zero", 4)])
def test_results_and_digests_are_equal_for_any_number_of_slots(model, episodes, env_id):
    alone = evaluate(model, env_id, 1, episodes)
    assert len({result.digest for result in alone}) == episodes
    assert evaluate(model, env_id, 3, episodes) == alone
    assert evaluate(model, env_id, 16, episodes) == alone


@pytest.mark.parametrize("env_id", ENVIRONMENTS.values())
def test_experts_succeed_and_the_floor_does_not(env_id):
    assert {result.status for result in evaluate("scripted", env_id, 16, 16)} == {"success"}
    for model in ("random", "zero"):
        results = evaluate(model, env_id, 8, 8)
        assert sum(result.status == "success" for result in results) <= 1
        assert all(result.failure for result in results if result.status == "failure")


def test_without_termination_an_expert_holds_its_success():
    results = evaluate("scripted", ENVIRONMENTS["pick-place"], 16, 16, terminate_on_success=False)
    assert all(result.success_once and result.success_held and result.success_at_end for result in results)
    assert {result.steps for result in results} == {150}
