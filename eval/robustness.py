"""Tests a policy under perturbations: the same starts unperturbed and along each axis, level by level.

    python -m eval.robustness --model vla --env pick-place --axes camera light --episodes 100 --output runs/robust

Beside the success rate of each level stand the control (the same starts unperturbed) and the ceiling (the privileged
expert under the same perturbation).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from envs.choices import EnvironmentFlags
from envs.registration import Registration, find_environment
from eval.battery.as_json import battery_to_json
from eval.battery.reading import BatteryFolder, read_battery
from eval.battery.text import folder_rows
from eval.comparison.replay import replay_command
from eval.episodes.plan import WHOLE, PlanError, plan_episodes
from eval.execution.assembly import build_policy, close_policy
from eval.execution.battery import EXPERT, QUICK_STARTS, BatteryPart, BatteryRequest, battery_parts
from eval.execution.battery_frames import write_frames
from eval.execution.cluster.pool import check_executor, connected, run_on_ray
from eval.execution.evaluation import EvaluationJob
from eval.execution.invocation import Invocation, prepare
from eval.execution.planning import RunPlan, divided, plan_battery
from eval.execution.worker import TIMEOUT_SECONDS, Executor, check_shape
from eval.observers.progress import Progress
from eval.probing.interventions import Interventions
from eval.record import RecordConfig
from eval.report.battery_page import write_battery_page
from eval.runs.folder import check_output, run_folder
from eval.runs.media_paths import REPORT_FILE
from eval.terminal.command import COMPLETE, EPISODE_ERRORS, config_to_json, run_command
from eval.terminal.console import Console, Row, rows_text
from eval.terminal.flags import command_line
from policies.learned.devices import Device
from policies.options import PolicyFlags, parse_options
from simscaleai.command_line import raise_at_interrupt
from simscaleai.contract import Needs
from simscaleai.errors import SimScaleError

PROGRAM = "python -m eval.robustness"

_STARTS = 100


@dataclass(frozen=True, kw_only=True)
class RobustnessConfig(EnvironmentFlags, PolicyFlags):
    """Test a policy under perturbations: the same starts unperturbed and along each axis, level by level."""

    model: tuple[str, ...]
    """Policy to test; any --model of eval.rollout. Further policies run on the same starts and are compared with it."""
    axes: tuple[str, ...] = ()
    """Axes or groups of axes, for example camera light.intensity. By default all that change something for a policy."""
    levels: tuple[int, ...] = ()
    """Levels of each axis, 0 to 5, by default all. Level 0 is the control; it runs once for all axes."""
    episodes: int | None = None
    """Number of starts. Each of them runs in every arm: the control, and each level of each axis. By default 100."""
    seed: int = 0
    """Base seed: start i has the seed `seed` + i."""
    pairs: int | None = None
    """Also combine all pairs of axes at this level, to find pairs that fail more than their parts."""
    sweep: tuple[str, ...] = ()
    """Also run the control with other options of the first policy, for example n_action_steps=1,2,4."""
    policy_option: tuple[str, ...] = ()
    """Options of the first policy, each NAME=VALUE, as in eval.rollout."""
    shard: str | None = None
    """Run only one part of the battery, for example 3/16: every 16th start from the third, in all arms. `eval.merge`
    joins all parts. For several machines without a connection."""
    quick: bool = False
    """Get a first answer soon: the first axis of each group, levels 2 and 4, 25 starts. --axes, --levels and --episodes
    still count."""
    num_envs: int | None = None
    """Episodes simulated at the same time, as in eval.rollout. Changes the speed, never a result."""
    workers: int = 1
    """Processes that run episodes. Changes the speed, never a result."""
    executor: Executor = "process"
    """Where workers run: process, on this machine, or ray, on a cluster, as in eval.rollout."""
    device: Device | None = None
    """Where learned policies compute, as in eval.rollout. The expert is computed in the workers."""
    timeout: float = TIMEOUT_SECONDS
    """Seconds that a policy or the environment may take for one answer, as in eval.rollout."""
    output: Path | None = None
    """Folder of the battery, new or empty. It is the run of the first policy. The runs of the expert, of further
    policies and of other options are below it. Default: the next free runs/robustness-<model>-<env>-<number>."""
    resume: bool = False
    """Continue the battery in --output: only missing episodes are run, and episodes with the status `error`."""
    accept_inexact: bool = False
    """With --resume: continue although the environment does not repeat itself."""
    quiet: bool = False
    """Print only warnings and errors, no progress."""
    json: bool = False
    """Print the result as one JSON object instead of text; progress goes to standard error."""
    terminate_on_success: bool = True
    """End an episode at its first success. Otherwise every episode runs to its time limit, and success counts at its
    end."""

    def check(self) -> None:
        """Check the numbers.

        Raises:
            PlanError: If a number is out of range, or --resume has no folder.
        """
        check_shape(self.workers, self.num_envs, self.timeout)
        check_executor(self.executor)
        if self.resume and self.output is None:
            raise PlanError("expected --output with --resume: the folder of the battery to continue")
        parse_options(self.policy_option)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the starts."""
        usual = QUICK_STARTS if self.quick else _STARTS
        return tuple(spec.seed for spec in plan_episodes(usual if self.episodes is None else self.episodes, self.seed))

    def request(self) -> BatteryRequest:
        """Return the settings that decide which arms and policies run."""
        return BatteryRequest(**{each.name: getattr(self, each.name) for each in fields(BatteryRequest)})


def run(config: RobustnessConfig) -> BatteryFolder:
    """Run the battery of `config`, print progress and findings, and return all of its runs, which are also on disk.

    Raises:
        SimScaleError: If the configuration is wrong.
        KeyboardInterrupt: If interrupted, after the finished episodes are on disk.
    """
    config.check()
    check_output(config.output, resume=config.resume)  # before time is spent on loading
    with Console(config.quiet, config.json) as console, chdir("."):
        home, registration = Path.cwd(), find_environment(config.environment)
        if registration.tasks:
            raise PlanError(f"expected one task, got a suite of {len(registration.tasks)}; run each task alone")
        options = [config.policy_option, *[()] * (len(config.model) - 1)]
        needs = [_needs(*each, registration, config.device) for each in zip(config.model, options, strict=True)]
        parts = battery_parts(config.request(), registration.offer(), needs)
        for part in parts[len(needs) :]:
            _needs(part.model, part.options, registration, None)  # raises if an option is wrong
        plans = [_plan(part, config) for part in parts]
        raise_at_interrupt()
        name = f"robustness-{Path(config.model[0]).name}-{Path(config.env).name}".replace(":", ".")
        with run_folder(config.output, name, home) as shown:
            check_output(home / shown, resume=config.resume, is_locked=True)  # again: another run may have begun there
            running = _Running(config, console, home, shown)
            console.say(f"{_starts_text(config)} in {1 + len(parts[0].battery.arms)} arms; record in {shown}")
            with connected(config.workers) if config.executor == "ray" else nullcontext():
                for part, plan in zip(parts, plans, strict=True):
                    running.run_part(part, plan)
            try:
                write_frames(home / shown, registration, needs[0], parts[0].battery, plans[0].part[0].seed)
            except SimScaleError as error:
                console.warn(f"the report lacks pictures: {error}")
            battery = read_battery(shown)  # whose path the page shows
            write_battery_page(battery)
            console.conclude(_rows(config, battery, shown), lambda: _as_json(config, battery, shown))
    return battery


def _plan(part: BatteryPart, config: RobustnessConfig) -> RunPlan:
    return divided(RunPlan(plan_battery(part.battery, config.seeds), battery=part.battery), config.shard)


def _starts_text(config: RobustnessConfig) -> str:
    n = len(config.seeds)
    starts = f"{n} start{'s' * (n != 1)}"
    return starts if config.shard is None else f"shard {config.shard} of {starts}"


def _needs(model: str, options: Sequence[str], registration: Registration, device: Device | None) -> Needs:
    """Return what the policy `model` with `options` needs."""
    with chdir("."):  # a policy may change the working directory
        policy = build_policy(model, None, registration.offer(), parse_options(options), device)
        close_policy(policy)
    return policy.needs


@dataclass(frozen=True)
class _Running:
    """Runs the parts of one battery, one after the other."""

    config: RobustnessConfig
    console: Console
    home: Path
    shown: Path
    """Folder of the battery as the user wrote it."""

    def run_part(self, part: BatteryPart, plan: RunPlan) -> None:
        """Run the missing episodes of `part`.

        Raises:
            KeyboardInterrupt: If interrupted, after the finished episodes are on disk.
        """
        with chdir("."):
            job = self._job(part)
            policy = build_policy(part.model, None, job.registration.offer(), job.options, job.device)
            cluster = run_on_ray if self.config.executor == "ray" else None
            with prepare(job, policy, plan, self.config.workers, cluster) as invocation:
                folder = self.home / self.shown / part.folder
                folder.mkdir(parents=True, exist_ok=True)
                config = replace(self.config, model=(part.model,), policy_option=part.options)
                self._run_missing(invocation.in_folder(folder, config_to_json(config)), part)

    def _run_missing(self, invocation: Invocation, part: BatteryPart) -> None:
        invocation.begin(accept_inexact=self.config.accept_inexact)
        planned, shard = len(invocation.plan.part), invocation.plan.shard or WHOLE
        missing = planned - len(invocation.earlier)
        options = f" with {' '.join(part.options)}" if part.options else ""
        self.console.say(f"{part.model}{options}: {missing} of {planned} episodes to run")
        progress = []
        if not self.config.quiet:
            progress = [Progress(planned, earlier=invocation.earlier, control_only=True, shard=shard)]
        try:
            invocation.run_episodes(progress)
        except KeyboardInterrupt:
            again = command_line(PROGRAM, replace(self.config, output=self.shown, resume=True))
            self.console.say(rows_text([("continue with", again)]))
            raise
        finally:
            invocation.conclude()

    def _job(self, part: BatteryPart) -> EvaluationJob:
        config = self.config
        return EvaluationJob(
            model=part.model,
            checkpoint=None,
            options=parse_options(part.options),
            env=config.environment,
            interventions=Interventions(),
            num_envs=config.num_envs or 0,
            terminate_on_success=config.terminate_on_success,
            timeout=config.timeout,
            device=None if part.model == EXPERT else config.device,
            folder=Path(),
            filmed=range(0),
            identity="",
        )


def _rows(config: RobustnessConfig, battery: BatteryFolder, shown: Path) -> Iterator[Row]:
    """Yield the findings, and where they are."""
    yield from folder_rows(battery)
    yield "record", str(shown)
    yield "report", str(shown / REPORT_FILE)
    yield from _commands(config, battery, shown).items()


def _commands(config: RobustnessConfig, battery: BatteryFolder, shown: Path) -> dict[str, str]:
    """Return the commands that run the first failure of the worst arm again, and that film it."""
    cells = [cell for axis in battery.findings().axes for level, cell in axis.cells.items() if level]
    worst = min(cells, key=lambda cell: cell.rate)
    environment = {each.name: getattr(config, each.name) for each in fields(EnvironmentFlags)}
    film = RecordConfig(
        model=battery.tested.name,
        policy_option=config.policy_option,
        output=shown / "films",
        seeds=(worst.example.seed,),
        perturb=tuple(worst.arm.split()),
        **environment,
    )
    return {
        "replay": replay_command(battery.tested.run, [worst.example]),
        "film": command_line("python -m eval.record", film),
    }


def _as_json(config: RobustnessConfig, battery: BatteryFolder, shown: Path) -> dict[str, Any]:
    files = {"folder": str(shown), "report": str(shown / REPORT_FILE)}
    return files | _commands(config, battery, shown) | battery_to_json(battery)


def _run_and_judge(config: RobustnessConfig) -> int:
    return EPISODE_ERRORS if run(config).has_errors else COMPLETE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code."""
    return run_command(RobustnessConfig, _run_and_judge, PROGRAM, arguments)


if __name__ == "__main__":
    sys.exit(main())
