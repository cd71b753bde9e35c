"""Networks for robot policies: `forward(batch) -> dict` for training, `predict(obs) -> actions` for acting.

Importing this package does not import torch. The module of a model is imported when the model is created.
"""

from simscaleai.models.registry import ModelRegistry, register_model

__all__ = ["ModelRegistry", "register_model"]
