"""Computes the gradients of a step: operation by operation, or as a recorded CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor, nn

from simscaleai.training.inputs.windows import Batch, Selection, WindowSampler, moved

LOSSES = ("loss", "auxiliary_loss")
"""Outputs of a learner that are reported."""

_WARM_UP_CALLS = 3


class Gradients(Protocol):
    """Leaves the gradients of the loss of a batch in the parameters."""

    def prepare(self, selection: Selection) -> Batch | Selection:
        """Do what can be done ahead of the step, in another thread."""

    def __call__(self, prepared: Batch | Selection) -> dict[str, Tensor]:
        """Compute the gradients and return the losses, scalars on the device, until the next call overwrites them."""


class PlainGradients:
    """Computes operation by operation. The batch is made ahead of the step."""

    def __init__(
        self,
        forward: nn.Module,
        sampler: WindowSampler,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager[object]],
    ) -> None:
        """Prepare to call the learner `forward` on batches of `sampler`, within `autocast()`."""
        self._forward, self._sampler, self._device, self._autocast = forward, sampler, device, autocast

    def prepare(self, selection: Selection) -> Batch:
        """Return the batch of `selection` on the device."""
        return self._sampler.convert(moved(selection, self._device))

    def __call__(self, prepared: Batch) -> dict[str, Tensor]:
        """Compute the gradients of a batch and return its losses."""
        with self._autocast():
            output = self._forward(prepared)
        for parameter in self._forward.parameters():
            parameter.grad = None
        output["loss"].backward()
        return {name: output[name].detach().float().reshape(()) for name in LOSSES if name in output}


class RecordedGradients:
    """Replays a CUDA graph of `PlainGradients`: conversion of the batch, forward and backward pass.

    A step of a small model is thousands of short kernels. Launching them one by one takes longer than computing them.
    """

    def __init__(self, plain: PlainGradients, example: Selection, device: torch.device) -> None:
        """Record the graph with the shapes of `example`. Gradients stay at one place in memory from now on."""
        self._inputs = moved(example, device)
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP_CALLS):
                plain(plain.prepare(self._inputs))
        torch.cuda.current_stream(device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._losses = plain(plain.prepare(self._inputs))

    def prepare(self, selection: Selection) -> Selection:
        """Return `selection` as it is: the graph converts it."""
        return selection

    def __call__(self, prepared: Selection) -> dict[str, Tensor]:
        """Compute the gradients of a selection and return its losses."""
        for key, value in self._inputs.items():
            if isinstance(value, Tensor):
                value.copy_(prepared[key], non_blocking=True)
        self._graph.replay()
        return self._losses
