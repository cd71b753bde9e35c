"""The loop on the real environments: what an episode is must not depend on its neighbours."""

import pytest

from envs.registration import environment_names, find_environment
from eval.episodes.loop import rollout
from eval.episodes.plan import DEVELOPMENT_SEEDS, plan_episodes
from eval.episodes.results import EpisodeResult
from eval.execution.assembly import build_environment, build_policy

ENVIRONMENTS = environment_names()

FIRST_SEED = DEVELOPMENT_SEEDS.start + 100


def evaluate(
    model: str, env_id: str, num_slots: int, episodes: int, *, terminate_on_success: bool = True
) -> list[EpisodeResult]:
    registration = find_environment(env_id)
    policy = build_policy(model, None, registration.offer())
    env = build_environment(registration, [policy.needs], num_slots, terminate_on_success=terminate_on_success)
    plan = plan_episodes(episodes, FIRST_SEED)
    return rollout(env, policy, plan, terminate_on_success=terminate_on_success)


@pytest.mark.parametrize("env_id", ENVIRONMENTS.values())
@pytest.mark.parametrize(("model", "episodes"), [("scripted", 6), ("random", 4), ("zero", 3)])
def test_results_and_digests_are_equal_for_any_number_of_slots(model, episodes, env_id):
    alone = evaluate(model, env_id, 1, episodes)
    assert len({result.digest for result in alone}) == episodes
    assert evaluate(model, env_id, 2, episodes) == alone
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
