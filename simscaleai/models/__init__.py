"""Robot policies as networks: `forward(batch) -> dict` to train, `predict(obs) -> actions` to act.

Importing this package imports no torch; a model's module is imported when the model is created.
"""

from simscaleai.models.registry import ModelRegistry, register_model

__all__ = ["ModelRegistry", "register_model"]
