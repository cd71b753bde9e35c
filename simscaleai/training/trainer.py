"""The training loop.

On one machine, the weights after a step are a function of (configuration, dataset, step), because batches, image
shifts, dropout and diffusion noise are drawn from generators seeded by (seed, step). An interrupted training therefore
continues to the same weights, bit for bit, on a CPU with the same number of threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from simscaleai.checkpoint import save_checkpoint
from simscaleai.data import Dataset
from simscaleai.errors import SimScaleError
from simscaleai.files import output_folder
from simscaleai.processing import Affine
from simscaleai.training.batches import EpochOrder, Stream, generator, prefetch, split_episodes, torch_seed
from simscaleai.training.conditions import check_output, check_same_training, check_success, memory_errors_explained
from simscaleai.training.config import TrainConfig
from simscaleai.training.distributed import ProcessGroup, device_of_process, is_first_process, joined_processes
from simscaleai.training.learner import AveragedModel, Learner, learning_rate_at, make_auxiliary, make_optimizer
from simscaleai.training.log import TrainingLog
from simscaleai.training.policy import build_policy
from simscaleai.training.record import training_record
from simscaleai.training.state import STATE_FILE, Progress, load_progress, restore_state, save_state
from simscaleai.training.windows import Batch, WindowSampler

VALIDATION_FRAMES = 2048
"""Largest number of held-out frames, evenly spread, in one validation."""


class DivergedError(SimScaleError):
    """The loss or its gradient is not finite."""


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """State of a training when it ended or stopped."""

    folder: Path
    """Folder of the checkpoint."""
    step: int
    """Number of optimiser steps done."""
    steps: int
    """Number of optimiser steps planned."""
    minutes: float
    """Training time, including the time before an interruption."""
    validation_loss: float | None
    """Last loss on held-out episodes; None without held-out episodes."""

    @property
    def finished(self) -> bool:
        """Whether all planned steps are done."""
        return self.step == self.steps


def train(config: TrainConfig) -> TrainingResult:
    """Train until all steps are done or the time is up, and write the checkpoint and the state to `config.output`.

    Raises:
        SimScaleError: If dataset and options do not fit together, the output folder holds another training, or another
            process writes to it.
        DivergedError: If the loss or the gradient is not finite. The last checkpoint stays.
    """
    with output_folder(config.output) if is_first_process() else nullcontext():
        return _train(config)


def _train(config: TrainConfig) -> TrainingResult:
    check_output(config)
    dataset = Dataset(config.dataset)
    check_success(config, dataset)
    if is_first_process():
        dataset.check_files()
    device = _device(device_of_process(config.device))
    processes = joined_processes(device, config.batch_size)
    with torch.random.fork_rng(), _threads(config.threads), memory_errors_explained(config), processes as group:
        return _Trainer(config, dataset, device, group).run()


class _Trainer:
    def __init__(self, config: TrainConfig, dataset: Dataset, device: torch.device, processes: ProcessGroup) -> None:
        self.config, self.dataset, self.device, self.processes = config, dataset, device, processes
        self.policy = build_policy(config, dataset)
        self.sampler = WindowSampler(
            dataset,
            self.policy.processor,
            action_horizon=self.policy.action_horizon,
            image_shift=config.image_shift,
            auxiliary_targets=_auxiliary_targets(dataset) if config.auxiliary_weight > 0 else None,
        )
        training, held_out = split_episodes(len(dataset.episodes), config.validation_fraction, config.seed)
        self.order = EpochOrder(dataset.frames_of(training), config.batch_size, config.seed)
        self.validation_frames = _evenly_spread(dataset.frames_of(held_out))
        self.learner = self._make_learner()
        self.average = AveragedModel(self.learner.model, config.ema_decay)
        self.optimizer = make_optimizer(self.learner, config.weight_decay)
        self.step, self.minutes_before, self.began = 0, 0.0, time.monotonic()
        self.validation_loss: float | None = None
        if config.resume and (config.output / STATE_FILE).exists():
            self._restore()
        self.forward = processes.averaging(self.learner)

    @property
    def minutes(self) -> float:
        return self.minutes_before + (time.monotonic() - self.began) / 60

    def run(self) -> TrainingResult:
        log = self._open_log() if self.processes.is_first else None
        batches = prefetch(self._batch, range(self.step, self.config.steps))
        try:
            for batch in batches:
                last = self.step + 1 == self.config.steps or self._is_time_up()
                metrics = self._optimise(batch)
                self.step += 1
                if log is not None:
                    self._report(metrics, log, last=last)
                if last:
                    break
        finally:
            batches.close()
            if log is not None:
                log.close()
        return TrainingResult(
            folder=self.config.output,
            step=self.step,
            steps=self.config.steps,
            minutes=self.minutes,
            validation_loss=self.validation_loss,
        )

    def _open_log(self) -> TrainingLog:
        config = self.config
        config.output.mkdir(parents=True, exist_ok=True)
        log = TrainingLog(config.output, start=self.step, steps=config.steps, tensorboard=config.tensorboard)
        log.print_line(self._summary())
        return log

    def _report(self, metrics: dict[str, float], log: TrainingLog, *, last: bool) -> None:
        """Log the `metrics` of a step. Validate and save after the last step, and once per checkpoint interval."""
        log.advance(metrics)
        current = {"minutes": self.minutes}
        at_checkpoint = last or self.step % self.config.checkpoint_interval == 0
        if at_checkpoint and len(self.validation_frames):
            self.validation_loss = current["validation_loss"] = self._validate()
        if at_checkpoint or self.step % self.config.log_interval == 0:
            log.write(self.step, current)
        if at_checkpoint:
            self._save()

    def _optimise(self, batch: Batch) -> dict[str, float]:
        """Take one optimiser step and return its metrics."""
        config = self.config
        self._seed_torch(Stream.TORCH, self.processes.stream_position(self.step))
        rate = learning_rate_at(
            self.step, highest=config.learning_rate, warmup_steps=config.warmup_steps, steps=config.steps
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.learner.train()
        with self._autocast():
            output = self.forward(_to_device(batch, self.device))
        self.optimizer.zero_grad()
        output["loss"].backward()
        norm = nn.utils.clip_grad_norm_(self.learner.parameters(), config.gradient_clip)
        losses = {name: float(output[name].detach()) for name in ("loss", "auxiliary_loss") if name in output}
        metrics = losses | {"gradient_norm": float(norm), "learning_rate": rate}
        self._check_finite(metrics)
        self.optimizer.step()
        self.average.update(self.learner.model, self.step)
        return metrics

    def _check_finite(self, metrics: Mapping[str, float]) -> None:
        loss, norm = metrics["loss"], metrics["gradient_norm"]
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise DivergedError(
                f"loss {loss} with gradient norm {norm} at step {self.step}: training stopped; an earlier checkpoint "
                f"in {self.config.output} is kept; try a lower --learning-rate"
            )

    @torch.no_grad()
    def _validate(self) -> float:
        """Return the loss of the averaged weights on held-out frames, always with the same noise."""
        total = 0.0
        for start in range(0, len(self.validation_frames), self.config.batch_size):
            frames = self.validation_frames[start : start + self.config.batch_size]
            self._seed_torch(Stream.VALIDATION, start)
            with self._autocast():
                output = self.average.model(_to_device(self.sampler.batch(frames), self.device))
            total += float(output["loss"]) * len(frames)
        return total / len(self.validation_frames)

    def _batch(self, step: int) -> Batch:
        shifts = generator(self.config.seed, Stream.IMAGE_SHIFT, self.processes.stream_position(step))
        return self.sampler.batch(self.processes.own_rows(self.order(step)), shifts)

    def _seed_torch(self, stream: Stream, position: int) -> None:
        """Seed the generators of dropout and noise. `torch.manual_seed` would seed all devices, which is far slower."""
        seed = torch_seed(self.config.seed, stream, position)
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16)

    def _is_time_up(self) -> bool:
        limit = self.config.max_minutes
        if limit is None:
            return False
        return self.processes.flag_of_first((time.monotonic() - self.began) / 60 >= limit)

    def _make_learner(self) -> Learner:
        model = self.policy.model.to(self.device)
        auxiliary = None
        if self.config.auxiliary_weight > 0:
            example = _to_device(self.sampler.batch(self.order(0)[:2]), self.device)
            auxiliary = make_auxiliary(model, example)
        return Learner(model, auxiliary, self.config.auxiliary_weight).to(self.device)

    def _restore(self) -> None:
        progress = load_progress(self.config.output)
        check_same_training(progress, self._progress())
        restore_state(self.config.output, self.learner, self.average, self.optimizer)
        self.step, self.minutes_before = progress.step, progress.minutes
        self.validation_loss = progress.validation_loss

    def _save(self) -> None:
        config = self.config
        save_checkpoint(
            config.output,
            model=self.average.model,
            model_name=config.model,
            model_arguments=self.policy.model_arguments,
            needs=self.policy.needs,
            processor=self.policy.processor,
            training=training_record(
                config,
                self.dataset,
                initial=self.policy.initial,
                processes=self.processes.world_size,
                step=self.step,
                minutes=self.minutes,
                validation_loss=self.validation_loss,
            ),
            n_action_steps=config.n_action_steps or self.policy.action_horizon,
            module=config.model if ":" in config.model else None,
            half=config.half,
        )
        save_state(config.output, self._progress(), self.learner, self.average, self.optimizer)

    def _progress(self) -> Progress:
        return Progress(
            step=self.step,
            minutes=self.minutes,
            validation_loss=self.validation_loss,
            config=self.config.to_json(),
            dataset_digest=self.dataset.digest,
            initial_digest=None if self.policy.initial is None else self.policy.initial.digest,
            processes=self.processes.world_size,
        )

    def _summary(self) -> str:
        parameters = sum(parameter.numel() for parameter in self.learner.model.parameters())
        observed = "images" if self.policy.needs.cameras else "no images"
        if self.policy.initial is not None:
            observed += f", {self.policy.share_taken:.0%} of the weights from {self.config.initial_checkpoint}"
        return (
            f"{self.config.model}: {parameters:,} parameters, {observed}, {len(self.dataset.episodes)} episodes, "
            f"{self.dataset.num_frames:,} frames, steps {self.step} to {self.config.steps}, {self.config.output}"
        )


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch use `count` threads in the `with` block; None leaves the number as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for CUDA
        reason = str(error).splitlines()[0]
        raise SimScaleError(f"--device {name} cannot be used: {reason}") from None


def _auxiliary_targets(dataset: Dataset) -> NDArray[np.float32]:
    """Return the targets of the auxiliary head: positions of objects, normalised, (num_frames, P)."""
    positions = dataset.positions
    if not positions.shape[1]:
        raise SimScaleError(
            "--auxiliary-weight needs features with unit m in a privileged vector of the dataset, alike in all folders"
        )
    return Affine.standardise({"mean": positions.mean(axis=0), "std": positions.std(axis=0)}).forward(positions)


def _evenly_spread(frames: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return at most `VALIDATION_FRAMES` of `frames`, evenly spread."""
    places = np.linspace(0, len(frames), num=min(len(frames), VALIDATION_FRAMES), endpoint=False)
    return frames[places.astype(np.intp)]


def _to_device(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    moved = {key: value.to(device) if isinstance(value, Tensor) else value for key, value in batch.items()}
    moved["observations"] = {key: value.to(device) for key, value in batch["observations"].items()}
    return moved
