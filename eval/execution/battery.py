"""Which runs a robustness battery consists of: the policy, the expert, further policies, other options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eval.episodes.battery import Battery
from eval.probing.perturbations import find_axes
from eval.probing.probe_axes import axes_of, check_effects, reason_without_effect
from eval.runs.media_paths import EXPERT_FOLDER, OPTIONS_FOLDER, POLICIES_FOLDER
from simscaleai.contract import EnvSpec, Needs
from simscaleai.errors import SimScaleError
from simscaleai.perturbation import LEVELS, Axis

EXPERT = "scripted"
"""The policy that is the ceiling, where an environment has one."""

QUICK_LEVELS = (2, 4)
"""Levels of a quick battery."""

QUICK_STARTS = 25
"""Starts of a quick battery."""


@dataclass(frozen=True, kw_only=True)
class BatteryPart:
    """One run of a battery: one policy, in the arms that concern it."""

    folder: Path
    """Folder below that of the battery; `Path()` for the policy that is tested."""
    model: str
    options: tuple[str, ...]
    """Options of the policy, each NAME=VALUE."""
    battery: Battery


@dataclass(frozen=True, kw_only=True)
class BatteryRequest:
    """Settings that decide which arms and policies run; see the flags of `eval.robustness`."""

    model: tuple[str, ...]
    axes: tuple[str, ...]
    levels: tuple[int, ...]
    pairs: int | None
    sweep: tuple[str, ...]
    policy_option: tuple[str, ...]
    quick: bool


def battery_parts(request: BatteryRequest, spec: EnvSpec, needs: Sequence[Needs]) -> list[BatteryPart]:
    """Return the runs of a battery, that of the tested policy first.

    Args:
        request: What the user wants.
        spec: What the environment offers.
        needs: Needs of each policy of `request.model`.

    Raises:
        SimScaleError: If an axis, a level or an option does not exist, an axis changes nothing for any policy, or two
            policies have the same name.
    """
    axes, of_expert = chosen_axes(request, spec, needs), _needs_of_expert(spec)
    batteries = [
        Battery(
            axes=tested,
            levels=_levels(request),
            pair_level=request.pairs,
            has_expert=of_expert is not None,
            untested=tuple(axis.name for axis in whole_axes(spec) if axis not in tested),
        )
        for tested in (_effective(axes, [each], spec) for each in needs)
    ]
    _check_common_axes(request.model, batteries)
    first, *others = zip(request.model, batteries, strict=True)
    parts = [BatteryPart(folder=Path(), model=first[0], options=request.policy_option, battery=first[1])]
    parts += [
        BatteryPart(folder=POLICIES_FOLDER / name, model=model, options=(), battery=battery)
        for name, (model, battery) in zip(_names(request.model)[1:], others, strict=True)
    ]
    control = Battery(levels=first[1].levels)
    parts += [
        BatteryPart(folder=OPTIONS_FOLDER / option, model=first[0], options=options, battery=control)
        for option, options in _swept_options(request).items()
    ]
    if of_expert:
        battery = replace(first[1], axes=_effective(axes, [of_expert], spec), has_expert=False)
        parts.append(BatteryPart(folder=EXPERT_FOLDER, model=EXPERT, options=(), battery=battery))
    return parts


def chosen_axes(request: BatteryRequest, spec: EnvSpec, needs: Sequence[Needs]) -> tuple[Axis, ...]:
    """Return the axes of the battery: those that the user names, or all that change something for a policy.

    A quick battery has the first axis of each group, unless the user names axes.

    Raises:
        SimScaleError: If there is no such axis, or none that the user means changes anything for a policy.
    """
    known = axes_of(spec)
    if request.axes:
        named = [find_axes(name, known) for name in request.axes]
        for axes in named:
            if not _effective(axes, needs, spec):
                check_effects(axes[:1], needs, spec)
        chosen = [axis for axes in named for axis in axes]
    else:
        chosen = whole_axes(spec)
    found = tuple(dict.fromkeys(_effective(chosen, needs, spec)))
    if not found:
        raise SimScaleError(f"{spec.env_id} has no axis that changes anything for this policy")
    if request.quick and not request.axes:
        groups = dict.fromkeys(axis.group for axis in found)
        return tuple(next(axis for axis in found if axis.group == group) for group in groups)
    return found


def _check_common_axes(models: Sequence[str], batteries: Sequence[Battery]) -> None:
    """Raise if a policy cannot be compared with the first one, because no axis changes something for both."""
    for model, battery in zip(models, batteries, strict=True):
        if not {*battery.axes} & {*batteries[0].axes}:
            raise SimScaleError(
                f"expected axes that change something for {models[0]} and {model}, got none; test them apart"
            )


def whole_axes(spec: EnvSpec) -> list[Axis]:
    """Return the axes of an environment and of probes that are not limited to one camera."""
    return [axis for axis in axes_of(spec).values() if not axis.is_of_one_camera]


def _effective(axes: Sequence[Axis], readers: Sequence[Needs], spec: EnvSpec) -> tuple[Axis, ...]:
    """Return those of `axes` that change something for one of the `readers`."""
    return tuple(axis for axis in axes if not all(reason_without_effect(axis, needs, spec) for needs in readers))


def _needs_of_expert(spec: EnvSpec) -> Needs | None:
    """Return what the expert of an environment needs; None if there is no expert."""
    from policies.scripted.experts import EXPERTS

    expert = EXPERTS.get(spec.env_id)
    return expert(spec).needs if expert else None


def _levels(request: BatteryRequest) -> tuple[int, ...]:
    levels = request.levels or (QUICK_LEVELS if request.quick else LEVELS)
    if unknown := [level for level in levels if level not in LEVELS]:
        raise SimScaleError(f"expected --levels from {LEVELS[0]} to {LEVELS[-1]}, got {unknown[0]}")
    if not any(levels):
        raise SimScaleError("expected a level above 0 in --levels; level 0 is the control, which always runs")
    return tuple(sorted({*levels} - {0}))


def _names(models: Sequence[str]) -> list[str]:
    """Return the names of the folders of `models`."""
    names = [Path(model).name.replace(":", ".") for model in models]
    if len(set(names)) < len(names):
        raise SimScaleError(f"expected --model with different names, got {' '.join(models)}; rename a folder")
    return names


def _swept_options(request: BatteryRequest) -> dict[str, tuple[str, ...]]:
    """Return each option of --sweep with each of its values, NAME=VALUE, to all options of that run."""
    swept = {}
    for text in request.sweep:
        name, equals, values = text.partition("=")
        if not (name and equals and all(values.split(","))):
            raise SimScaleError(f"expected --sweep NAME=VALUE,VALUE, such as n_action_steps=1,2,4; got {text!r}")
        others = [option for option in request.policy_option if option.partition("=")[0] != name]
        for value in values.split(","):
            swept[f"{name}={value}"] = (*others, f"{name}={value}")
    return swept
