"""A policy of LeRobot with its own pre- and post-processors. `host.py` loads this file where LeRobot is installed.

A checkpoint is loaded and asked as in `lerobot-eval`. Both ways to ask give, to the last bit, the actions of a plain
loop of `select_action` over one environment:

* chunks: `predict_action_chunk`, whenever the evaluator has no action left. A probe compares it with `select_action`.
* single actions: `select_action` at every step, by a twin of the policy for each slot, which shares the weights. Only
  this serves policies that remember earlier observations, or average over their chunks.
"""

from __future__ import annotations

import copy
import importlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any, Mapping

import numpy as np

answering: Any = importlib.import_module("answering")
streams: Any = importlib.import_module("streams")

PACKAGES = ("lerobot", "torch", "torchvision", "transformers", "diffusers", "numpy")
"""Packages whose versions decide the actions."""

STATISTICS = {
    "MEAN_STD": ("mean", "std"),
    "MIN_MAX": ("min", "max"),
    "QUANTILES": ("q01", "q99"),
    "QUANTILE10": ("q10", "q90"),
}
"""Way to normalise to the statistics that it needs."""

PLACEHOLDER = "empty_camera"
"""Part of the name of an image that the policy itself fills in."""

_LONGEST_REASON = 400


class LeRobotPolicy:
    """One checkpoint."""

    def __init__(self, folder: str, device: str) -> None:
        """Load the checkpoint in `folder`.

        Raises:
            Mistake: If it cannot be loaded completely, statistics are missing, or its actions are not finite.
        """
        os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")  # what is not in the folder is not its weights
        self._torch: Any = importlib.import_module("torch")
        answering.check_device(device)
        self._config = _read_config(folder, device)
        self._policy = _load_weights(folder, self._config)
        self._before, self._after = _load_processors(folder, self._config)
        _check_statistics(self._config, self._before, self._after)
        self._instructions: dict[int, str] = {}
        self._twins: dict[int, Any] = {}
        self._horizon = self._probe()

    def facts(self) -> dict[str, Any]:
        """Return what the policy takes and gives."""
        steps = [type(step).__name__ for step in self._before.steps]
        return {
            "inputs": {name: [each.type.value, list(each.shape)] for name, each in self._inputs().items()},
            "action_size": int(self._config.output_features["action"].shape[0]),
            "reads_instruction": any("Tokenizer" in step for step in steps),
            "n_action_steps": self._action_steps if self._horizon else 1,
            "horizon": self._horizon or 1,
        }

    def begin(self, slot: int, instruction: str) -> None:
        """Begin an episode in `slot`."""
        self._instructions[slot] = instruction
        if not self._horizon:
            if slot not in self._twins:
                self._twins[slot] = _twin(self._policy)
            self._twins[slot].reset()

    def act(self, slot: int, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the next actions of `slot`, float32 (H, A)."""
        batch = self._batch(observation, self._instructions[slot])
        return self._chunk(batch) if self._horizon else self._select(self._twins[slot], batch)

    @property
    def _action_steps(self) -> int:
        return int(getattr(self._config, "n_action_steps", 1))

    def _inputs(self) -> dict[str, Any]:
        return {name: each for name, each in self._config.input_features.items() if PLACEHOLDER not in name}

    def _batch(self, observation: Mapping[str, np.ndarray], instruction: str) -> dict[str, Any]:
        """Return one row as LeRobot has it: images as float32 (1, 3, height, width) in [0, 1]."""
        batch: dict[str, Any] = {"task": [instruction]}
        for name, values in observation.items():
            tensor = self._torch.from_numpy(values)[None]
            if values.dtype == np.uint8:
                tensor = tensor.permute(0, 3, 1, 2).contiguous().type(self._torch.float32)
                tensor /= 255
            batch[name] = tensor
        return batch

    def _chunk(self, batch: dict[str, Any]) -> np.ndarray:
        with self._torch.inference_mode(), self._precision():
            return self._actions(self._policy.predict_action_chunk(self._before(batch))[0])

    def _select(self, policy: Any, batch: dict[str, Any]) -> np.ndarray:
        with self._torch.inference_mode(), self._precision():
            return self._actions(policy.select_action(self._before(batch)))

    def _actions(self, chosen: Any) -> np.ndarray:
        actions: np.ndarray = self._after(chosen).float().cpu().numpy()
        return actions

    def _precision(self) -> Any:
        device = self._torch.device(self._config.device).type
        return self._torch.autocast(device_type=device, enabled=bool(self._config.use_amp))

    def _probe(self) -> int:
        """Return the length of a chunk if chunks serve; otherwise 0.

        They serve if they give the actions of `select_action` to the last bit, whatever was predicted before.
        """
        rng, steps = np.random.default_rng(0), self._action_steps
        seen = [self._batch(self._drawn(rng), "probe") for _ in range(steps + 1)]
        twin = _twin(self._policy)
        twin.reset()
        streams.seed_generators(0)
        expected = np.concatenate([self._select(twin, dict(batch)) for batch in seen])
        if not np.isfinite(expected).all():
            raise answering.Mistake("its actions are not finite; were its weights or statistics damaged?")
        try:
            first, second, again = self._chunks(seen[0], seen[-1]) + self._chunks(seen[0])
        except Exception:  # types that cannot predict chunks raise what they like
            return 0
        found = np.concatenate([first[:steps], second[:1]])
        same = found.tobytes() == expected.tobytes() and first.tobytes() == again.tobytes()
        return len(first) if same else 0

    def _chunks(self, *batches: dict[str, Any]) -> list[np.ndarray]:
        """Return the chunks for `batches`, after the generators were seeded."""
        streams.seed_generators(0)
        return [self._chunk(dict(batch)) for batch in batches]

    def _drawn(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return a random observation."""
        return {
            name: rng.integers(0, 256, (*each.shape[1:], each.shape[0]), dtype=np.uint8)
            if each.type.value == "VISUAL"
            else rng.normal(size=each.shape).astype(np.float32)
            for name, each in self._inputs().items()
        }


def load(path: str, options: Mapping[str, Any]) -> LeRobotPolicy:
    """Return the policy in the folder `path`."""
    return LeRobotPolicy(path, **options)


def _read_config(folder: str, device: str) -> Any:
    importlib.import_module("lerobot.policies")  # registers the types of policies
    configs: Any = importlib.import_module("lerobot.configs.policies")
    try:
        config = configs.PreTrainedConfig.from_pretrained(folder)
    except Exception as error:
        raise answering.Mistake(f"its config.json cannot be read: {_reason(error)}") from error
    if getattr(config, "use_peft", False):
        raise answering.Mistake("its weights are an adapter (PEFT); merge them into the model and save that")
    config.device, config.pretrained_path = device, Path(folder)
    return config


def _load_weights(folder: str, config: Any) -> Any:
    factory: Any = importlib.import_module("lerobot.policies.factory")
    try:
        return factory.get_policy_class(config.type).from_pretrained(folder, config=config, strict=True)
    except Exception as error:
        text = f"its weights do not make a complete model of type {config.type!r}: {_reason(error)}"
        raise answering.Mistake(text) from error


def _load_processors(folder: str, config: Any) -> Any:
    factory: Any = importlib.import_module("lerobot.policies.factory")
    overrides = {"device_processor": {"device": config.device}}
    try:
        return factory.make_pre_post_processors(config, pretrained_path=folder, preprocessor_overrides=overrides)
    except FileNotFoundError as error:
        text = "copy the whole folder of the checkpoint, with the policy_*.safetensors that hold the statistics"
        raise answering.Mistake(f"a file of its processors is missing; {text}: {_reason(error)}") from error
    except Exception as error:
        raise answering.Mistake(f"its processors cannot be loaded: {_reason(error)}") from error


def _check_statistics(config: Any, before: Any, after: Any) -> None:
    """Check that every input and the action has the statistics that normalise it. LeRobot would pass it as it is."""
    for features, processor in ((config.input_features, before), (config.output_features, after)):
        known = [step.stats or {} for step in processor.steps if hasattr(step, "norm_map")]
        for name, feature in features.items():
            mode = config.normalization_mapping.get(feature.type.value)
            wanted = STATISTICS.get(getattr(mode, "value", "IDENTITY"), ())
            found = {key for stats in known for key in stats.get(name, ())}
            if PLACEHOLDER not in name and not found.issuperset(wanted):
                raise answering.Mistake(
                    f"{name} is normalised by {mode.value} and its processor lacks {' and '.join(wanted)}; save the "
                    "checkpoint with the statistics of its dataset"
                )


def _twin(policy: Any) -> Any:
    """Return a copy of `policy` with memory of its own, which shares the weights."""
    shared = [part for part in policy.modules() if part is not policy]
    shared += [*policy.parameters(), *policy.buffers()]
    return copy.deepcopy(policy, {id(part): part for part in shared})


def _reason(error: BaseException) -> str:
    return str(answering.reason_text(error))[:_LONGEST_REASON]


# The check of an installation


def check() -> list[tuple[str, str]]:
    """Save an ACT of random weights, load it, and ask it; return what was found."""
    with tempfile.TemporaryDirectory() as folder:
        save_random_act(folder, {"front": 96}, 8, 4)
        policy = load(folder, {"device": "cpu"})
    policy.begin(0, "")
    observation = policy._drawn(np.random.default_rng(0))
    policy.act(0, observation)
    begin = time.perf_counter()
    chunk = policy.act(0, observation)
    seconds = time.perf_counter() - begin
    devices = "a GPU" if policy._torch.cuda.is_available() else "no GPU"
    text = f"a random ACT was saved, loaded and asked: {len(chunk)} actions in {1000 * seconds:.0f} ms on one CPU core"
    return [("Policy", text), ("Devices", f"CPU and {devices}")]


def save_random_act(folder: str, cameras: Mapping[str, int], state: int, action: int) -> None:
    """Save a small ACT of random weights.

    Args:
        folder: New folder.
        cameras: Name of each camera to the height and width of its images [px].
        state: Size of the state.
        action: Size of the action.
    """
    torch: Any = importlib.import_module("torch")
    types: Any = importlib.import_module("lerobot.configs.types")
    act: Any = importlib.import_module("lerobot.policies.act.modeling_act")
    factory: Any = importlib.import_module("lerobot.policies.factory")
    kinds, feature = types.FeatureType, types.PolicyFeature
    inputs = {f"observation.images.{name}": feature(kinds.VISUAL, (3, size, size)) for name, size in cameras.items()}
    inputs["observation.state"] = feature(kinds.STATE, (state,))
    config = act.ACTConfig(
        input_features=inputs,
        output_features={"action": feature(kinds.ACTION, (action,))},
        pretrained_backbone_weights=None,
        dim_model=64,
        dim_feedforward=64,
        n_heads=2,
        chunk_size=8,
        n_action_steps=8,
        device="cpu",
        push_to_hub=False,
    )
    sizes = {name: (3, 1, 1) if each.type is kinds.VISUAL else each.shape for name, each in inputs.items()}
    sizes["action"] = (action,)
    statistics = {name: {"mean": torch.zeros(size), "std": torch.ones(size)} for name, size in sizes.items()}
    act.ACTPolicy(config).save_pretrained(folder)
    for processor in factory.make_pre_post_processors(config, dataset_stats=statistics):
        processor.save_pretrained(folder)
