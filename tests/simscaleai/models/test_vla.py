import pytest
import torch
from torch import nn

from simscaleai.errors import SimScaleError, UnknownNameError
from simscaleai.models.language import tokenize
from simscaleai.models.policy_heads.diffusion_head import DiffusionActionHead
from simscaleai.models.policy_heads.mlp_head import MLPActionHead
from simscaleai.models.vla import VisionLanguageAction

SMALL = {"image_size": 32, "patch_size": 8, "embed_dim": 32, "num_heads": 2, "num_layers": 2, "max_text_len": 32}
TEXTS = ["pick up the red cube", "place it", "", "pick up the blue cube"]


def build(**arguments):
    torch.manual_seed(0)
    return VisionLanguageAction(**{**SMALL, "dropout": 0.0, **arguments})


def batch_of(rows=4, **extra):
    generator = torch.Generator().manual_seed(1)
    return {
        "observations": {
            "image": torch.rand(rows, 3, 32, 32, generator=generator),
            "state": torch.randn(rows, 20, generator=generator),
        },
        "actions": torch.rand(rows, 4, generator=generator) * 1.6 - 0.8,
        "language": (TEXTS * rows)[:rows],
        **extra,
    }


def fit(model, batch, steps, enough=0.0):
    """Train for so many steps, or until the loss is below `enough`; return the last loss."""
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(batch)["loss"]
        if loss.item() < enough:
            break
        loss.backward()
        optimizer.step()
    return loss.item()


@pytest.mark.parametrize("head", ["mlp", "diffusion"])
@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("state_dim", [0, 20])
@pytest.mark.parametrize("language", [False, True])
def test_every_variant_trains_and_predicts(head, horizon, state_dim, language):
    model = build(action_head_type=head, action_horizon=horizon, state_dim=state_dim, use_language=language)
    batch = batch_of()
    output = model(batch)
    output["loss"].backward()
    assert set(output) == {"predicted_actions", "loss", "action_mse"}
    expected = (4, 4) if horizon == 1 else (4, 3, 4)
    assert output["predicted_actions"].shape == expected
    assert all(parameter.grad is not None for parameter in model.parameters())
    actions = model.predict(batch["observations"], batch["language"])
    assert actions.shape == expected
    assert actions.dtype == torch.float32
    assert actions.abs().max() <= 1
    assert (model.uses_image, model.uses_language) == (True, language)
    assert (model.action_horizon, model.action_dim) == (horizon, 4)


def test_learns_to_tell_instructions_apart():
    model = build(state_dim=0)
    batch = batch_of(4)
    batch["observations"]["image"] = batch["observations"]["image"][:1].repeat(4, 1, 1, 1)
    assert fit(model, batch, 150, enough=0.005) < 0.02
    torch.testing.assert_close(model.predict(batch["observations"], TEXTS), batch["actions"], rtol=0, atol=0.3)


def test_learns_to_tell_images_and_states_apart():
    assert fit(build(use_language=False), batch_of(), 150, enough=0.02) < 0.02
    batch = batch_of()
    batch["observations"]["image"] = batch["observations"]["image"][:1].repeat(4, 1, 1, 1)
    assert fit(build(use_language=False, state_dim=20), batch, 150, enough=0.02) < 0.02


def test_mlp_loss_is_the_mean_squared_error():
    model, batch = build(), batch_of()
    output = model(batch)
    expected = (output["predicted_actions"] - batch["actions"]).square().mean()
    torch.testing.assert_close(output["loss"], expected)
    torch.testing.assert_close(output["action_mse"], expected)


def test_diffusion_uses_its_head_for_loss_and_chunks():
    model, batch = build(action_head_type="diffusion", action_horizon=3), batch_of()
    assert isinstance(model.action_head, DiffusionActionHead)
    assert model.action_head.action_dim == 12
    features = model.encode(batch["observations"], batch["language"])
    targets = batch["actions"].repeat(1, 3)
    torch.manual_seed(5)
    expected = model.action_head(features, target_actions=targets)
    torch.manual_seed(5)
    output = model(batch)
    torch.testing.assert_close(output["loss"], expected["loss"])
    torch.testing.assert_close(output["predicted_actions"], expected["predicted_actions"].view(4, 3, 4))
    error = (expected["predicted_actions"] - targets).square().mean()
    torch.testing.assert_close(output["action_mse"], error)


def test_diffusion_leaves_padded_steps_out():
    model = build(action_head_type="diffusion", action_horizon=3)
    is_pad = torch.tensor([[False, False, True]] * 4)
    losses = {}
    for name, weight in (("kept", 0), ("padded", 2)):
        with torch.no_grad():
            model.action_head.output.bias.zero_()
            model.action_head.output.bias.view(3, 4)[weight] = 100.0
        torch.manual_seed(5)
        losses[name] = model(batch_of(action_is_pad=is_pad))["loss"].item()
    assert losses["padded"] < 10
    assert losses["kept"] > 1000


def test_diffusion_learns_one_batch():
    model = build(action_head_type="diffusion", action_horizon=2, beta_schedule="squaredcos_cap_v2")
    batch = batch_of()
    fit(model, batch, 150)
    torch.manual_seed(0)
    predicted = model.predict(batch["observations"], batch["language"])
    assert (predicted - batch["actions"][:, None]).abs().mean() < 0.1


def test_diffusion_arguments_reach_the_head():
    model = build(
        action_head_type="diffusion",
        num_diffusion_steps=50,
        num_inference_steps=5,
        beta_schedule="squaredcos_cap_v2",
        action_horizon=3,
    )
    assert model.noise_shape(7) == (6, 7, 12)
    assert model.action_head.num_diffusion_steps == 50
    assert model.action_head.alphas_cumprod[-1] < 1e-4


def test_noise_decides_the_sample():
    model, observations = build(action_head_type="diffusion"), batch_of()["observations"]
    noise = torch.randn(model.noise_shape(4))
    first = model.predict(observations, noise=noise)
    assert torch.equal(model.predict(observations, noise=noise), first)
    assert not torch.equal(model.predict(observations, noise=noise + 0.5), first)
    state = torch.get_rng_state()
    model.predict(observations, noise=noise)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(3)
    drawn = model.predict(observations)
    torch.manual_seed(3)
    assert torch.equal(model.predict(observations), drawn)
    with pytest.raises(SimScaleError, match=r"noise must have shape \(11, 4, 4\), got \(4, 4\)"):
        model.predict(observations, noise=noise[0])


def test_mlp_head_takes_no_noise():
    model = build()
    assert model.noise_shape(4) is None
    assert isinstance(model.action_head, MLPActionHead)
    with pytest.raises(SimScaleError, match="takes no noise"):
        model.predict(batch_of()["observations"], noise=torch.zeros(4))


def test_forward_is_decode_of_encode():
    model, batch = build(state_dim=20), batch_of()
    features = model.encode(batch["observations"], batch["language"])
    assert features.shape == (4, 32)
    assert torch.equal(model.decode(features, batch)["loss"], model(batch)["loss"])


def test_one_instruction_serves_all_rows():
    model, observations = build(), batch_of()["observations"]
    assert torch.equal(model.predict(observations, TEXTS[0]), model.predict(observations, [TEXTS[0]] * 4))


def test_tokens_equal_their_texts():
    model, observations = build(), batch_of()["observations"]
    assert torch.equal(model.predict(observations, tokenize(TEXTS)), model.predict(observations, TEXTS))
    model.train()
    by_text = model.encode(observations, TEXTS)
    torch.testing.assert_close(model.encode(observations, tokenize(TEXTS)), by_text, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_an_empty_text_equals_no_language(training):
    model, observations = build(state_dim=20).train(training), batch_of()["observations"]
    silent = model.encode(observations)
    for empty in ("", [""] * 4, torch.zeros(4, 6, dtype=torch.int64)):
        torch.testing.assert_close(model.encode(observations, empty), silent, rtol=1e-4, atol=1e-5)
    mixed = model.encode(observations, TEXTS)
    torch.testing.assert_close(mixed[2], silent[2], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(mixed[0], silent[0], atol=1e-4)


def test_training_and_eval_read_texts_alike():
    model, observations = build(state_dim=20), batch_of()["observations"]
    in_training = model.encode(observations, TEXTS)
    torch.testing.assert_close(model.eval().encode(observations, TEXTS), in_training, rtol=1e-4, atol=1e-5)


def test_each_distinct_text_is_encoded_once(monkeypatch):
    model, encoded = build(), []
    features = model.language_encoder.features
    monkeypatch.setattr(
        model.language_encoder, "features", lambda tokens: encoded.append(tuple(tokens.shape)) or features(tokens)
    )
    texts = ["pick up the red cube", "place", "place", "pick up the red cube"] * 4
    model(batch_of(16, language=texts))
    assert encoded == [(2, 20)]
    encoded.clear()
    model.predict(batch_of(16)["observations"], texts)
    assert encoded == [(1, 20), (1, 5)]


def test_remembered_texts_change_no_bit_and_are_encoded_once(monkeypatch):
    model, observations = build(state_dim=20), batch_of()["observations"]
    plain = [model.predict(observations, texts) for texts in (TEXTS, TEXTS[::-1])]
    model.remember_texts()
    encode, encoded = model.language_encoder.features, []
    monkeypatch.setattr(model.language_encoder, "features", lambda tokens: encoded.append(tokens) or encode(tokens))
    again = [model.predict(observations, texts) for texts in (TEXTS, TEXTS[::-1])]
    assert all(torch.equal(*pair) for pair in zip(plain, again, strict=True))
    assert len(encoded) == len(TEXTS)


def test_training_forgets_remembered_texts():
    model, batch = build(state_dim=20), batch_of()
    model.remember_texts()
    before = model.predict(batch["observations"], batch["language"])
    model.train()
    with torch.no_grad():
        model.language_encoder.embedding.weight.mul_(2.0)
    after = model.predict(batch["observations"], batch["language"])
    assert not torch.equal(before, after)
    assert torch.equal(after, model.predict(batch["observations"], batch["language"]))


@pytest.mark.parametrize("head", ["mlp", "diffusion"])
def test_a_row_does_not_depend_on_its_tile(head):
    """Rows of a tile of 8 give the same bits in any order and beside any other rows and texts."""
    model = build(action_head_type=head, state_dim=20, action_horizon=4)
    observations, texts = batch_of(8)["observations"], TEXTS * 2
    shape = model.noise_shape(8)
    noise = None if shape is None else torch.randn(shape)
    expected = model.predict(observations, texts, noise=noise)
    order = torch.tensor([3, 1, 7, 5, 0, 2, 6, 4])
    shuffled = model.predict(
        {key: value[order] for key, value in observations.items()},
        [texts[index] for index in order],
        noise=None if noise is None else noise[:, order],
    )
    assert torch.equal(shuffled, expected[order])
    others = {key: torch.cat([value[:1], torch.rand_like(value[1:])]) for key, value in observations.items()}
    beside = model.predict(others, [texts[0]] + ["another text"] * 7, noise=noise)
    assert torch.equal(beside[0], expected[0])


def test_state_is_read_only_when_wanted():
    batch = batch_of()
    other_state = dict(batch["observations"], state=batch["observations"]["state"] + 1)
    without, with_state = build(), build(state_dim=20)
    assert torch.equal(without.predict(other_state), without.predict(batch["observations"]))
    assert torch.equal(without.predict({"image": other_state["image"]}), without.predict(batch["observations"]))
    assert not torch.allclose(with_state.predict(other_state), with_state.predict(batch["observations"]))


def test_language_is_read_only_when_wanted():
    model, observations = build(use_language=False), batch_of()["observations"]
    assert not hasattr(model, "language_encoder")
    assert torch.equal(model.predict(observations, "pick"), model.predict(observations))


@pytest.mark.parametrize(("num_layers", "fusion_layers"), [(1, 2), (2, 2), (4, 2), (5, 2), (6, 3), (8, 4)])
def test_fusion_has_half_the_layers_but_at_least_two(num_layers, fusion_layers):
    model = build(num_layers=num_layers)
    assert len(model.vision_encoder.transformer.blocks) == num_layers
    assert len(model.fusion.blocks) == fusion_layers


def test_fusion_reads_visual_language_and_state_tokens(monkeypatch):
    model, seen = build(state_dim=20).train(), []
    fusion = model.fusion.forward

    def record(tokens, key_mask, num_outputs):
        seen.append((tokens, key_mask))
        return fusion(tokens, key_mask, num_outputs)

    monkeypatch.setattr(model.fusion, "forward", record)
    batch = batch_of()
    model.encode(batch["observations"], TEXTS)
    ((tokens, mask),) = seen
    length = max(map(len, TEXTS))
    assert tokens.shape == (4, 1 + 16 + length + 1, 32)
    visual = model.vision_encoder(batch["observations"]["image"] * 2 - 1)
    torch.testing.assert_close(tokens[:, :17], visual)
    torch.testing.assert_close(tokens[:, -1], model.state_projection(batch["observations"]["state"]))
    assert mask[:, 17:-1].sum(1).tolist() == [len(text) for text in TEXTS]
    assert mask[:, :17].all()
    assert mask[:, -1].all()


def test_architecture_follows_the_arguments():
    model = build(mlp_ratio=2.0, lang_num_layers=3, vocab_size=100, dropout=0.3)
    block = model.vision_encoder.transformer.blocks[0]
    assert block.feedforward[0].out_features == 64
    assert block.attention.num_heads == 2
    assert len(model.language_encoder.transformer.blocks) == 3
    assert model.language_encoder.embedding.num_embeddings == 100
    assert {module.p for module in model.modules() if isinstance(module, nn.Dropout)} == {0.3}


def test_two_cameras_stack_on_the_channels():
    model = build(in_channels=6)
    assert model.predict({"image": torch.rand(2, 6, 32, 32)}).shape == (2, 4)


@pytest.mark.parametrize("head", ["mlp", "diffusion"])
def test_initialization_is_the_vit_one(head):
    torch.manual_seed(0)
    model = VisionLanguageAction(action_head_type=head)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert not module.bias.any()
        if isinstance(module, nn.LayerNorm):
            assert (module.weight == 1).all()
            assert not module.bias.any()


@pytest.mark.parametrize("head", ["mlp", "diffusion"])
def test_trains_under_bfloat16_autocast(head):
    model, batch = build(action_head_type=head, state_dim=20), batch_of()
    torch.manual_seed(4)
    exact = model(batch)["loss"]
    torch.manual_seed(4)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(batch)
    output["loss"].backward()
    assert output["loss"].dtype == output["predicted_actions"].dtype == torch.float32
    torch.testing.assert_close(output["loss"], exact, rtol=0.05, atol=0.02)
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"action_head_type": "difusion"}, "Unknown action_head_type 'difusion'. Did you mean 'diffusion'"),
        ({"patch_size": 7}, "image_size must be a multiple of patch_size"),
        ({"num_heads": 5}, "embed_dim must be a multiple of num_heads"),
        ({"vocab_size": 40}, "vocab_size must be at least 45"),
        ({"action_head_type": "diffusion", "beta_schedule": "cosine"}, "Unknown beta_schedule 'cosine'"),
        ({"action_head_type": "diffusion", "num_inference_steps": 101}, "num_inference_steps must be from 1 to"),
    ],
)
def test_wrong_arguments_are_errors(arguments, message):
    with pytest.raises(SimScaleError, match=message):
        build(**arguments)


def test_unknown_head_is_a_name_error():
    with pytest.raises(UnknownNameError):
        build(action_head_type="linear")


@pytest.mark.parametrize(
    ("observations", "language", "message"),
    [
        ({"state": torch.zeros(2, 20)}, None, "needs observation 'image', got state"),
        ({"image": torch.zeros(2, 3, 32, 32)}, None, "needs observation 'state'"),
        ({"image": torch.zeros(2, 3, 16, 16)}, None, r"'image' must have shape \(B, 3, 32, 32\), got \(2, 3, 16, 16\)"),
        ({"image": torch.zeros(2, 3, 32, 32, dtype=torch.uint8)}, None, "must be floating point, got torch.uint8"),
        (
            {"image": torch.zeros(2, 3, 32, 32), "state": torch.zeros(2, 20)},
            ["pick"],
            "one text or one per row: 2 rows, 1 texts",
        ),
        ({"image": torch.zeros(2, 3, 32, 32), "state": torch.zeros(2, 20)}, "a" * 33, "max_text_len=32"),
    ],
)
def test_wrong_inputs_are_errors(observations, language, message):
    with pytest.raises(SimScaleError, match=message):
        build(state_dim=20).predict(observations, language)


@pytest.mark.slow
def test_several_threads_give_the_same_gradient_every_time():
    """Many rows share few texts, so the gradient of a text is a sum over rows that threads may add in any order."""
    model, batch, threads = build(state_dim=20, embed_dim=64), batch_of(128), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        gradients = []
        for _ in range(4):
            model.zero_grad()
            model(batch)["loss"].backward()
            gradients.append(torch.cat([weights.grad.flatten() for weights in model.language_encoder.parameters()]))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)
