"""The models' documentation as users read it: every example runs as printed, every table holds."""

import inspect
import re

import pytest
import torch

from simscaleai.models import registry
from simscaleai.models.bc import BehaviorCloning
from simscaleai.models.policy_heads.diffusion_head import DiffusionActionHead
from simscaleai.models.policy_heads.mlp_head import MLPActionHead
from simscaleai.models.vla import VisionLanguageAction

EXAMPLES = """
```python
from simscaleai.models import ModelRegistry

# List available models
print(ModelRegistry.list())  # ['bc', 'vla']

# Create a model by name
model = ModelRegistry.create("bc", state_dim=20, action_dim=4)

# Create with custom kwargs
model = ModelRegistry.create("vla",
    image_size=64,
    embed_dim=128,
    num_heads=4,
    num_layers=4,
    action_dim=4,
)
```

```python
from torch import nn
from simscaleai.models.registry import register_model

@register_model("my_model")
class MyModel(nn.Module):
    def __init__(self, state_dim=20, action_dim=4, **kwargs):
        super().__init__()
        self.net = nn.Linear(state_dim, action_dim)

    def forward(self, batch):
        actions = self.net(batch["observations"]["state"])
        loss = nn.functional.mse_loss(actions, batch["actions"])
        return {"predicted_actions": actions, "loss": loss}

    def predict(self, obs):
        return self.net(obs["state"])
```

```python
model = ModelRegistry.create("bc",
    state_dim=20,
    action_dim=4,
    use_image=True,
    image_size=128,
)

# Training forward pass
batch = {
    "observations": {
        "state": torch.randn(8, 20),
        "image": torch.randn(8, 3, 128, 128),
    },
    "actions": torch.randn(8, 4),
}

output = model(batch)
# output = {
#     "predicted_actions": Tensor (8, 4),
#     "loss": scalar Tensor,
#     "action_mse": scalar Tensor,
#     "action_mae": scalar Tensor,
# }

# Inference
obs = {"state": torch.randn(1, 20)}
actions = model.predict(obs)  # (1, 4)
```

```python
model = ModelRegistry.create("vla",
    image_size=128,
    embed_dim=256,
    num_heads=4,
    num_layers=4,
    action_dim=4,
    use_language=True,
    action_horizon=1,
)

# Training
batch = {
    "observations": {
        "image": torch.randn(4, 3, 128, 128),
        "state": torch.randn(4, 20),        # optional
    },
    "actions": torch.randn(4, 4),
    "language": ["pick up the red cube"] * 4,  # optional
}

output = model(batch)
# output = {"predicted_actions", "loss", "action_mse"}

# Inference
obs = {"image": torch.randn(1, 3, 128, 128)}
actions = model.predict(obs, language="pick up the red cube")
```

```python
model = ModelRegistry.create("vla", action_horizon=4, action_dim=4)

# Output shape: (batch, horizon, action_dim) = (B, 4, 4)
output = model(batch)
print(output["predicted_actions"].shape)  # (B, 4, 4)
```

```python
from simscaleai.models.policy_heads.mlp_head import MLPActionHead

head = MLPActionHead(
    input_dim=256,      # Feature dimension from backbone
    action_dim=4,       # Output actions
    hidden_dim=256,     # Hidden layer width
    n_layers=2,         # Number of hidden layers
    dropout=0.1,        # Dropout rate
    tanh_output=True,   # Clamp output to [-1, 1]
)

features = torch.randn(8, 256)
actions = head(features)  # (8, 4), values in [-1, 1]
```

```python
from simscaleai.models.policy_heads.diffusion_head import DiffusionActionHead

head = DiffusionActionHead(
    input_dim=256,
    action_dim=4,
    hidden_dim=256,
    n_layers=4,
    num_diffusion_steps=100,    # Training noise schedule steps
    num_inference_steps=10,     # Denoising steps at inference
    beta_start=1e-4,            # Noise schedule start
    beta_end=0.02,              # Noise schedule end
)

# Training (with targets)
features = torch.randn(8, 256)
targets = torch.randn(8, 4)
output = head(features, target_actions=targets)
loss = output["loss"]

# Inference (without targets)
output = head(features)
actions = output["predicted_actions"]  # (8, 4)
```
"""

BC_TABLE = """
| `state_dim` | `int` | `20` | Dimension of state observation vector |
| `action_dim` | `int` | `4` | Dimension of action output |
| `hidden_dim` | `int` | `256` | MLP hidden layer width |
| `n_layers` | `int` | `3` | Number of MLP layers |
| `use_image` | `bool` | `False` | Enable image conditioning |
| `image_channels` | `int` | `3` | Input image channels |
| `image_size` | `int` | `128` | Input image resolution |
| `image_embed_dim` | `int` | `128` | CNN output embedding dimension |
| `dropout` | `float` | `0.1` | Dropout rate |
| `loss_type` | `str` | `"mse"` | Loss function: `"mse"` or `"l1"` |
"""

VLA_TABLE = """
| `image_size` | `int` | `128` | Input image resolution |
| `patch_size` | `int` | `16` | ViT patch size |
| `in_channels` | `int` | `3` | Image channels |
| `embed_dim` | `int` | `256` | Transformer embedding dimension |
| `num_heads` | `int` | `4` | Attention heads |
| `num_layers` | `int` | `4` | Vision encoder layers |
| `mlp_ratio` | `float` | `4.0` | FFN hidden dim multiplier |
| `dropout` | `float` | `0.1` | Dropout rate |
| `use_language` | `bool` | `True` | Enable language conditioning |
| `vocab_size` | `int` | `1000` | Max vocabulary size |
| `max_text_len` | `int` | `64` | Max token sequence length |
| `lang_num_layers` | `int` | `2` | Language encoder layers |
| `action_dim` | `int` | `4` | Output action dimension |
| `action_head_type` | `str` | `"mlp"` | Action head: `"mlp"` or `"diffusion"` |
| `action_horizon` | `int` | `1` | Action chunking horizon |
| `state_dim` | `int` | `0` | State vector dim (0 = disabled) |
"""


@pytest.fixture(scope="module")
def sessions():
    """The namespace after each example, in the order in which a reader would type them."""
    before = dict(registry._MODELS)
    torch.manual_seed(0)
    namespace = {"torch": torch, "__name__": "documentation"}
    after = []
    for block in re.findall(r"```python\n(.*?)```", EXAMPLES, re.DOTALL):
        exec(block, namespace)  # noqa: S102
        after.append(dict(namespace))
    yield after
    registry._MODELS.clear()
    registry._MODELS.update(before)


def test_registry_example(sessions):
    model = sessions[0]["model"]
    assert isinstance(model, VisionLanguageAction)
    assert model.image_size == 64
    assert model.fusion.norm.normalized_shape == (128,)


def test_custom_model_example(sessions):
    model_registry = sessions[1]["ModelRegistry"]
    assert model_registry.list() == ["bc", "my_model", "vla"]
    model = model_registry.create("my_model", state_dim=5, action_dim=2, anything="else")
    assert isinstance(model, sessions[1]["MyModel"])
    output = model({"observations": {"state": torch.randn(3, 5)}, "actions": torch.randn(3, 2)})
    assert output["predicted_actions"].shape == (3, 2)


def test_behavior_cloning_example(sessions):
    output, actions = sessions[2]["output"], sessions[2]["actions"]
    assert set(output) == {"predicted_actions", "loss", "action_mse", "action_mae"}
    assert output["predicted_actions"].shape == (8, 4)
    assert all(output[name].shape == () for name in ("loss", "action_mse", "action_mae"))
    assert actions.shape == (1, 4)


def test_vla_example(sessions):
    output, actions = sessions[3]["output"], sessions[3]["actions"]
    assert set(output) == {"predicted_actions", "loss", "action_mse"}
    assert output["predicted_actions"].shape == (4, 4)
    assert actions.shape == (1, 4)


def test_chunking_example(sessions):
    assert sessions[4]["output"]["predicted_actions"].shape == (4, 4, 4)


def test_mlp_head_example(sessions):
    actions = sessions[5]["actions"]
    assert actions.shape == (8, 4)
    assert actions.abs().max() <= 1


def test_diffusion_head_example(sessions):
    assert sessions[6]["loss"].shape == ()
    assert sessions[6]["actions"].shape == (8, 4)
    assert sessions[6]["actions"].abs().max() <= 1


@pytest.mark.parametrize(("model_class", "table"), [(BehaviorCloning, BC_TABLE), (VisionLanguageAction, VLA_TABLE)])
def test_constructor_matches_its_table(model_class, table):
    rows = re.findall(r"\| `(\w+)` \| `(\w+)` \| `(.+?)` \|", table)
    parameters = list(inspect.signature(model_class).parameters.values())
    documented = [(name, kind, eval(default)) for name, kind, default in rows]  # noqa: S307
    assert [(p.name, p.annotation, p.default) for p in parameters[: len(rows)]] == documented
    for extra in parameters[len(rows) :]:
        assert extra.kind is extra.KEYWORD_ONLY
        assert extra.default is not extra.empty


@pytest.mark.parametrize("head_class", [MLPActionHead, DiffusionActionHead])
def test_heads_default_to_their_example(head_class):
    call = re.search(rf"head = {head_class.__name__}\((.*?)\n\)", EXAMPLES, re.DOTALL).group(1)
    documented = {name: eval(value) for name, value in re.findall(r"(\w+)=([^,]+),", call)}  # noqa: S307
    parameters = inspect.signature(head_class).parameters
    assert {name: parameters[name].default for name in documented} == documented
