import itertools
import math

import pytest
import torch

from simscaleai.errors import SimScaleError
from simscaleai.models.policy_heads.diffusion_head import BETA_SCHEDULES, DiffusionActionHead, denoising_steps
from simscaleai.models.policy_heads.mlp_head import MLPActionHead

MODES = torch.tensor([0.6, -0.6])
SHARE = 0.7


def build(**arguments):
    torch.manual_seed(0)
    return DiffusionActionHead(**{"input_dim": 8, "hidden_dim": 32, "n_layers": 2, **arguments}).eval()


def scheduler_of(head, schedule):
    ddpm = pytest.importorskip("diffusers.schedulers.scheduling_ddpm")
    scheduler = ddpm.DDPMScheduler(
        num_train_timesteps=head.num_diffusion_steps,
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule=schedule,
        timestep_spacing="trailing",
        prediction_type="epsilon",
        variance_type="fixed_small",
        clip_sample=True,
    )
    scheduler.set_timesteps(head.num_inference_steps)
    return scheduler


@pytest.mark.parametrize("schedule", BETA_SCHEDULES)
@pytest.mark.parametrize("steps", [1, 7, 10, 100])
@torch.no_grad()
def test_sampling_equals_an_established_scheduler_step_by_step(schedule, steps, monkeypatch):
    head = build(beta_schedule=schedule, num_inference_steps=steps)
    scheduler = scheduler_of(head, schedule)
    assert [step.timestep for step in head.steps] == scheduler.timesteps.tolist()
    features, noise = torch.randn(16, 8), torch.randn(head.noise_shape(16))
    actions = noise[0]
    for step, fresh in zip(head.steps, noise[1:], strict=True):
        timesteps = torch.full((16,), step.timestep)
        predicted = head.predict_noise(actions, timesteps, features)
        monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_, z=fresh, **__: z)
        expected = scheduler.step(predicted, step.timestep, actions).prev_sample
        ours = head.denoise(actions, step, features, fresh)
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=2e-4)
        actions = ours
    torch.testing.assert_close(head.sample(features, noise), actions.clamp(-1, 1))


@pytest.mark.parametrize("schedule", BETA_SCHEDULES)
def test_noise_schedule_equals_an_established_one(schedule):
    head = build(beta_schedule=schedule)
    expected = scheduler_of(head, schedule).alphas_cumprod
    torch.testing.assert_close(head.alphas_cumprod, expected, rtol=1e-3, atol=1e-6)


def test_linear_schedule_is_linear():
    alphas_cumprod = build(num_diffusion_steps=3, num_inference_steps=1, beta_start=0.1, beta_end=0.3).alphas_cumprod
    torch.testing.assert_close(alphas_cumprod, torch.tensor([0.9, 0.9 * 0.8, 0.9 * 0.8 * 0.7]))


def test_default_schedule_keeps_most_of_the_signal_and_the_cosine_ends_in_noise():
    assert build().alphas_cumprod[-1].sqrt().item() == pytest.approx(0.60, abs=0.01)
    assert build(beta_schedule="squaredcos_cap_v2").alphas_cumprod[-1].sqrt() < 0.001


def test_skipped_steps_use_the_exact_posterior_between_the_visited_ones():
    """Bayes: x_next given x and x₀, from q(x_next | x₀) and q(x | x_next) of the forward process."""
    alphas_cumprod = (1 - torch.linspace(1e-4, 0.02, 100, dtype=torch.float64)).cumprod(0)
    steps = denoising_steps(alphas_cumprod, 4)
    assert [step.timestep for step in steps] == [99, 74, 49, 24]
    for step, following in itertools.pairwise(steps):
        kept, kept_next = step.signal**2, following.signal**2
        alpha = kept / kept_next
        precision = 1 / (1 - kept_next) + alpha / (1 - alpha)
        assert step.std**2 == pytest.approx(1 / precision)
        assert step.clean_scale == pytest.approx(math.sqrt(kept_next) / (1 - kept_next) / precision)
        assert step.noisy_scale == pytest.approx(math.sqrt(alpha) / (1 - alpha) / precision)
    last = steps[-1]
    assert (last.clean_scale, last.noisy_scale, last.std) == pytest.approx((1, 0, 0))


def test_loss_is_the_error_of_the_predicted_noise(monkeypatch):
    head = build(noise_samples=2)
    features, targets, added = torch.randn(16, 8), torch.rand(16, 4) * 2 - 1, torch.randn(16, 4)
    timesteps = torch.arange(16) * 6
    drawn_timesteps, drawn_noise = [timesteps, 95 - timesteps], [added, torch.randn(16, 4)]
    monkeypatch.setattr(torch, "randint", lambda *_, **__: torch.cat(drawn_timesteps))
    monkeypatch.setattr(torch, "randn_like", lambda *_, **__: torch.cat(drawn_noise))
    output = head(features, target_actions=targets)
    scheduler, losses = scheduler_of(head, "linear"), []
    for timesteps, added in reversed(list(zip(drawn_timesteps, drawn_noise, strict=True))):
        noisy = scheduler.add_noise(targets, added, timesteps)
        predicted = head.predict_noise(noisy, timesteps, features)
        losses.append((predicted - added).square().mean())
    torch.testing.assert_close(output["loss"], torch.stack(losses).mean())
    kept = head.alphas_cumprod[timesteps, None]
    clean = (noisy - (1 - kept).sqrt() * predicted) / kept.sqrt()
    torch.testing.assert_close(output["predicted_actions"], clean.clamp(-1, 1), rtol=1e-4, atol=1e-5)


def test_every_timestep_is_trained():
    head = build(num_diffusion_steps=5, num_inference_steps=5)
    seen = []
    predict_noise = head.predict_noise
    head.predict_noise = lambda noisy, timesteps, features: (
        seen.append(timesteps) or predict_noise(noisy, timesteps, features)
    )
    head(torch.zeros(200, 8), torch.zeros(200, 4))
    assert seen[0].unique().tolist() == [0, 1, 2, 3, 4]


def test_entries_that_do_not_count_leave_the_loss():
    head = build()
    valid = torch.tensor([[True, True, True, False]]).repeat(16, 1)
    with torch.no_grad():
        head.output.bias[3] = 1000.0
    assert head(torch.zeros(16, 8), torch.zeros(16, 4), valid=valid)["loss"] < 100
    assert head(torch.zeros(16, 8), torch.zeros(16, 4))["loss"] > 1000


@torch.no_grad()
def test_the_estimate_depends_on_time_features_and_action():
    head = build()
    noisy, timesteps, features = torch.randn(4, 4), torch.tensor([1, 2, 3, 4]), torch.randn(4, 8)
    estimate = head.predict_noise(noisy, timesteps, features)
    assert not torch.allclose(head.predict_noise(noisy + 1, timesteps, features), estimate, atol=1e-4)
    assert not torch.allclose(head.predict_noise(noisy, timesteps + 40, features), estimate, atol=1e-4)
    assert not torch.allclose(head.predict_noise(noisy, timesteps, features + 1), estimate, atol=1e-4)


@torch.no_grad()
def test_samples_are_clamped():
    head = build()
    torch.nn.init.normal_(head.output.weight, std=10)
    actions = head(torch.randn(64, 8))["predicted_actions"]
    assert actions.abs().max() == 1


def test_noise_of_another_shape_is_an_error():
    with pytest.raises(SimScaleError, match=r"noise must have shape \(11, 2, 4\).*got \(10, 2, 4\)"):
        build().sample(torch.zeros(2, 8), torch.zeros(10, 2, 4))


@pytest.mark.parametrize("steps", [0, 101])
def test_impossible_step_counts_are_errors(steps):
    with pytest.raises(SimScaleError, match="from 1 to num_diffusion_steps=100, got"):
        build(num_inference_steps=steps)


def test_needs_a_noise_sample():
    with pytest.raises(SimScaleError, match="noise_samples must be at least 1, got 0"):
        build(noise_samples=0)


def test_unknown_schedule():
    with pytest.raises(ValueError, match=r"Unknown beta_schedule 'lineal'. Did you mean 'linear'"):
        build(beta_schedule="lineal")


def two_modes(rows, generator):
    first = torch.rand(rows, 1, generator=generator) < SHARE
    return torch.where(first, *MODES) + 0.03 * torch.randn(rows, 4, generator=generator)


def fit(module, loss_of, steps):
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(module.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(two_modes(256, generator)).backward()
        optimizer.step()
        schedule.step()


def shares(actions):
    """Return the shares of samples near the first mode, near the second, and near neither."""
    first, second = ((actions - mode).abs().amax(1) < 0.2 for mode in MODES)
    return [mask.float().mean().item() for mask in (first, second, ~(first | second))]


def sampled_shares(schedule):
    head = build(hidden_dim=64, beta_schedule=schedule, noise_samples=1)
    features = torch.ones(256, 8)
    fit(head, lambda targets: head(features, targets)["loss"], 800)
    with torch.no_grad():
        return shares(head.sample(torch.ones(4096, 8)))


@pytest.mark.slow
def test_cosine_schedule_recovers_both_modes_in_proportion():
    first, second, neither = sampled_shares("squaredcos_cap_v2")
    assert first == pytest.approx(SHARE, abs=0.04)
    assert second == pytest.approx(1 - SHARE, abs=0.04)
    assert neither < 0.03


@pytest.mark.slow
def test_linear_schedule_keeps_the_modes_apart_but_favours_the_rare_one():
    first, second, neither = sampled_shares("linear")
    assert 0.55 < first < SHARE - 0.04
    assert second > 1 - SHARE + 0.04
    assert neither < 0.03


def test_regression_answers_the_mean_of_the_modes():
    head = MLPActionHead(8, 4, hidden_dim=64, dropout=0.0)
    fit(head, lambda targets: (head(torch.ones(256, 8)) - targets).square().mean(), 300)
    actions = head(torch.ones(16, 8))
    assert shares(actions) == [0, 0, 1]
    torch.testing.assert_close(actions, torch.full((16, 4), (2 * SHARE - 1) * 0.6), rtol=0, atol=0.1)
