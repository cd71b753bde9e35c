"""The plugin for inspect-robots: its evaluation finds the successes and numbers of steps that ours finds."""

import pytest

from envs import find_environment
from eval.episodes.loop import rollout
from eval.episodes.plan import plan_episodes
from policies.registry import make_policy
from simscaleai.errors import SimScaleError


def our_results(env, model, episodes):
    registration = find_environment(env)
    spec = registration.offer()
    policy = make_policy(model, spec=spec)
    slots = registration.make(2, policy.needs, terminate_on_success=True, max_episode_steps=None)
    return {f"seed-{each.seed}": each for each in rollout(slots, policy, plan_episodes(episodes, 0))}


@pytest.mark.parametrize("model", ["bc", "zero"])
def test_success_and_steps_equal_ours(inspect_plugin, tmp_path, model):
    import inspect_robots

    (log,) = inspect_robots.eval(
        inspect_plugin.simscale_task("reach", episodes=3),
        inspect_plugin.SimScalePolicy(model, "reach"),
        inspect_plugin.SimScaleEmbodiment("reach", image_size=16),
        log_dir=str(tmp_path),
    )
    ours = our_results("reach", model, 3)
    assert log.status == "success"
    assert {each.scene_id: each.reduced for each in log.samples} == {
        scene: {"success_at_end": float(result.status == "success"), "episode_length": result.steps}
        for scene, result in ours.items()
    }
    assert [each.instruction for each in log.samples] == [result.instruction for result in ours.values()]


def test_the_declarations_conform(inspect_plugin):
    from inspect_robots.conformance import check_embodiment

    embodiment = inspect_plugin.SimScaleEmbodiment("pick-place", image_size=16)
    assert [issue for issue in check_embodiment(embodiment.info).issues if issue.severity == "error"] == []
    embodiment.close()


def test_a_policy_with_simulator_truth_is_refused(inspect_plugin, tmp_path):
    import inspect_robots
    from inspect_robots.errors import CompatibilityError

    with pytest.raises(CompatibilityError, match="environment_state"):
        inspect_robots.eval(
            inspect_plugin.simscale_task("pick-place", episodes=1),
            inspect_plugin.SimScalePolicy("scripted", "pick-place"),
            inspect_plugin.SimScaleEmbodiment("pick-place", image_size=16),
            log_dir=str(tmp_path),
        )


def test_an_own_instruction_reaches_the_policy(inspect_plugin):
    from inspect_robots import Scene

    embodiment = inspect_plugin.SimScaleEmbodiment("pick-place-language", image_size=16)
    assert embodiment.reset(Scene("a", "wave", init_seed=3)).instruction == "wave"
    own = embodiment.reset(Scene("b", "", init_seed=3)).instruction
    assert own == inspect_plugin.simscale_task("pick-place-language", 1, 3).scenes[0].instruction != ""
    embodiment.close()


def test_mistakes_are_named(inspect_plugin):
    with pytest.raises(SimScaleError, match="expected one task, got a suite of 2"):
        inspect_plugin.SimScaleEmbodiment("reach,stack")
    with pytest.raises(SimScaleError, match="ensemble_decay"):
        inspect_plugin.SimScalePolicy("bc", "reach", ensemble_decay=0.1)
