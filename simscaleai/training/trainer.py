"""The training loop.

On one machine, the weights after a step are a function of (configuration, dataset, step), because batches, image
shifts, dropout and diffusion noise are drawn from generators seeded by (seed, step). An interrupted training therefore
continues to the same weights, bit for bit, on a CPU with the same number of threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from simscaleai.checkpoint import save_checkpoint
from simscaleai.data import Dataset
from simscaleai.errors import SimScaleError
from simscaleai.files import output_folder
from simscaleai.processing import Affine
from simscaleai.training.conditions import check_output, check_same_training, check_success, memory_errors_explained
from simscaleai.training.config import TrainConfig
from simscaleai.training.distributed import ProcessGroup, device_of_process, is_first_process, joined_processes
from simscaleai.training.gradients import LOSSES, Gradients, PlainGradients, RecordedGradients
from simscaleai.training.inputs.order import EpochOrder, Stream, generator, prefetch, split_episodes, torch_seed
from simscaleai.training.inputs.windows import Batch, Selection, WindowSampler
from simscaleai.training.learner import AveragedModel, Learner, learning_rate_at, make_auxiliary, make_optimizer
from simscaleai.training.log import TrainingLog
from simscaleai.training.policy import build_policy
from simscaleai.training.record import training_record
from simscaleai.training.state import STATE_FILE, Progress, load_progress, restore_state, save_state

VALIDATION_FRAMES = 2048
"""Largest number of held-out frames, evenly spread, in one validation."""

GPU_READERS = 3
"""Number of threads that read batches for a GPU, each a batch ahead."""


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
    used = torch.cuda.device(device) if device.type == "cuda" else nullcontext()
    with torch.random.fork_rng(), used, _threads(config.threads), memory_errors_explained(config), processes as group:
        return _Trainer(config, dataset, device, group).run()


class _Trainer:
    def __init__(self, config: TrainConfig, dataset: Dataset, device: torch.device, processes: ProcessGroup) -> None:
        self.config, self.dataset, self.device, self.processes = config, dataset, device, processes
        self.policy = build_policy(config, dataset)
        self.is_recorded = self._can_record()
        self.sampler = self._make_sampler()
        training, held_out = split_episodes(len(dataset.episodes), config.validation_fraction, config.seed)
        self.order = EpochOrder(dataset.frames_of(training), config.batch_size, config.seed)
        self.validation_frames = _evenly_spread(dataset.frames_of(held_out))
        self.learner = self._make_learner()
        self.average = AveragedModel(self.learner.model, config.ema_decay)
        self.optimizer = make_optimizer(self.learner, config.weight_decay)
        self.unread: list[Tensor] = []  # losses and gradient norm of the steps since the last look, on the device
        self.step, self.minutes_before, self.began = 0, 0.0, time.monotonic()
        self.validation_loss: float | None = None
        if config.resume and (config.output / STATE_FILE).exists():
            self._restore()

    @property
    def minutes(self) -> float:
        return self.minutes_before + (time.monotonic() - self.began) / 60

    def run(self) -> TrainingResult:
        log = self._open_log() if self.processes.is_first else None
        gradients = self._make_gradients()
        batches = prefetch(
            lambda step: gradients.prepare(self._selection(step)),
            range(self.step, self.config.steps),
            threads=1 if self.device.type == "cpu" else GPU_READERS,  # more would take cores from a step on the CPU
        )
        try:
            for batch in batches:
                last = self.step + 1 == self.config.steps or self._is_time_up()
                self._optimise(gradients, batch)
                self.step += 1
                self._report(log, last=last)
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

    def _report(self, log: TrainingLog | None, *, last: bool) -> None:
        """Look at the metrics once per interval. Validate and save after the last step, and once per checkpoint.

        A step computes on the device alone; only a look waits for the device.
        """
        if log is not None:
            log.advance()
        at_checkpoint = last or self.step % self.config.checkpoint_interval == 0
        if not at_checkpoint and self.step % self.config.log_interval:
            return
        metrics = self._read_metrics()
        if log is None:
            return
        current = {"minutes": self.minutes}
        if at_checkpoint and len(self.validation_frames):
            self.validation_loss = current["validation_loss"] = self._validate()
        log.write(self.step, metrics, current)
        if at_checkpoint:
            self._save()

    def _optimise(self, gradients: Gradients, batch: Batch | Selection) -> None:
        """Take one optimiser step."""
        self._seed_torch(Stream.TORCH, self.processes.stream_position(self.step))
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(self.step)
        losses = gradients(batch)
        norm = nn.utils.clip_grad_norm_(self.learner.parameters(), self.config.gradient_clip)
        self.unread.append(torch.stack([*losses.values(), norm]))
        self.optimizer.step()
        self.average.update(self.learner.model, self.step)

    def _learning_rate(self, step: int) -> float:
        config = self.config
        return learning_rate_at(
            step, highest=config.learning_rate, warmup_steps=config.warmup_steps, steps=config.steps
        )

    def _read_metrics(self) -> list[dict[str, float]]:
        """Return the metrics of each step since the last call.

        Raises:
            DivergedError: If a loss or gradient norm is not finite.
        """
        first = self.step - len(self.unread)
        names = [*LOSSES[: len(self.unread[0]) - 1], "gradient_norm"]
        rows = [dict(zip(names, row, strict=True)) for row in torch.stack(self.unread).tolist()]
        self.unread.clear()
        for step, row in enumerate(rows, start=first):
            self._check_finite(row, step)
        return [row | {"learning_rate": self._learning_rate(step)} for step, row in enumerate(rows, start=first)]

    def _check_finite(self, metrics: Mapping[str, float], step: int) -> None:
        loss, norm = metrics["loss"], metrics["gradient_norm"]
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise DivergedError(
                f"loss {loss} with gradient norm {norm} at step {step}: training stopped; an earlier checkpoint "
                f"in {self.config.output} is kept; try a lower --learning-rate"
            )

    @torch.no_grad()
    def _validate(self) -> float:
        """Return the loss of the averaged weights on held-out frames, always with the same noise."""
        total = 0.0
        remember_texts: Callable[[], None] | None = getattr(self.average.model, "remember_texts", None)
        if remember_texts is not None:
            remember_texts()  # as these weights encode them
        for start in range(0, len(self.validation_frames), self.config.batch_size):
            frames = self.validation_frames[start : start + self.config.batch_size]
            self._seed_torch(Stream.VALIDATION, start)
            with self._autocast():
                output = self.average.model(self.sampler.batch(frames))
            total += float(output["loss"]) * len(frames)
        return total / len(self.validation_frames)

    def _selection(self, step: int) -> Selection:
        shifts = generator(self.config.seed, Stream.IMAGE_SHIFT, self.processes.stream_position(step))
        return self.sampler.select(self.processes.own_rows(self.order(step)), shifts)

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

    def _can_record(self) -> bool:
        """Return whether a CUDA graph may hold the computation of a step."""
        is_single = self.device.type == "cuda" and self.processes.world_size == 1
        return is_single and self.config.cuda_graph and getattr(self.policy.model, "is_recordable", False)

    def _make_sampler(self) -> WindowSampler:
        model = self.policy.model.to(self.device)
        return WindowSampler(
            self.dataset,
            self.policy.processor,
            action_horizon=self.policy.action_horizon,
            image_shift=self.config.image_shift,
            augmentation=self.config.augmentation,
            auxiliary_targets=_auxiliary_targets(self.dataset) if self.config.auxiliary_weight > 0 else None,
            tokenize=getattr(model, "text_tokens", None) if self.policy.needs.instruction else None,
            device=self.device,
            fixed_shapes=self.is_recorded,
        )

    def _make_gradients(self) -> Gradients:
        self.sampler.keep_images_on_device()
        self.learner.train()
        forward = self.processes.averaging(self.learner)
        plain = PlainGradients(forward, self.sampler, self.device, self._autocast)
        return RecordedGradients(plain, self._selection(self.step), self.device) if self.is_recorded else plain

    def _make_learner(self) -> Learner:
        model = self.policy.model
        auxiliary = None
        if self.config.auxiliary_weight > 0:
            auxiliary = make_auxiliary(model, self.sampler.batch(self.order(0)[:2]))
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
