"""A model for tests of the inference process: it does something unusual under a condition."""

import importlib
import sys
from pathlib import Path

from envs.registration import find_environment

WILD = """
import multiprocessing, os, pathlib, signal, time
import torch
from simscaleai.models.action_model import ActionModel


class Model(ActionModel):
    is_thread_safe = True
    action_horizon, action_dim, uses_image, uses_language = 1, 4, False, False

    def __init__(self, size):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(-1, 1, 4 * size).reshape(size, 4))

    def encode(self, observations, language=None):
        if {condition}:
            {deed}
        return observations["state"]

    def act(self, features, noise=None):
        return torch.tanh((features[:, :, None] * self.weight).sum(1))
"""


def write_wild(condition, deed):
    """Write the model and a checkpoint of it to the working directory; return flags that select it.

    `condition` is an expression and `deed` a statement; both see `observations`.
    """
    from simscaleai.checkpoint import save_checkpoint
    from simscaleai.processing import Processor

    Path("wild.py").write_text(WILD.format(condition=condition, deed=deed))
    sys.modules.pop("wild", None)  # of an earlier deed
    wild = importlib.import_module("wild")

    needs = find_environment("reach").offer().needs("state")
    size = needs.vectors["state"].size
    one = {"min": [-1.0] * size, "max": [1.0] * size, "mean": [0.0] * size, "std": [1.0] * size}
    action = {name: values[:4] for name, values in one.items()}
    save_checkpoint(
        "wild",
        model=wild.Model(size),
        model_name="wild:Model",
        model_arguments={"size": size},
        needs=needs,
        processor=Processor.fit(needs, {"observation.state": one, "action": action}),
        training={},
        module="wild:Model",
    )
    return ["--model", "wild:Model", "--checkpoint", "wild"]
