"""Serves a policy to openpi clients over WebSockets.

python -m policies.serve --model vla
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from policies.base import Policy
from policies.foreign.hosted import PREFIX
from policies.foreign.openpi.announcement import API_KEY_VARIABLE
from policies.foreign.openpi.libraries import import_library
from policies.learned.devices import Device
from policies.options import parse_options
from policies.registry import make_policy
from policies.serving.access import is_loopback, read_api_key
from simscaleai.command_line import parse, printable, raise_at_interrupt, say_mistake
from simscaleai.contract import ActionSpec, EnvSpec, check_needs
from simscaleai.errors import SimScaleError

if TYPE_CHECKING:
    from policies.serving.server import PolicyServer, Traffic

PROGRAM = "python -m policies.serve"

_SECONDS_BETWEEN_REPORTS = 10.0


@dataclass(frozen=True)
class ServeConfig:
    """Serve a policy to openpi clients over WebSockets. Ctrl-C ends the server."""

    model: str | None = None
    """Policy: a name that `python -m policies` lists, a checkpoint folder, module:attribute or file.py:attribute."""
    checkpoint: Path | None = None
    """Folder with the weights of the model."""
    env: str | None = None
    """Environment that the policy is for. A checkpoint needs none; functions, classes and experts do."""
    policy_option: tuple[str, ...] = ()
    """Options of the policy, each NAME=VALUE; n_action_steps=4 tells clients to execute four actions of each chunk."""
    device: Device | None = None
    """Where a checkpoint computes: cpu (all cores) or cuda; by default one core."""
    host: str = "127.0.0.1"
    """Address to listen at. By default only programs on this machine can connect. Any other address needs an API key,
    and nothing is encrypted."""
    port: int = 8000
    """Port to listen at; 0 for a free one."""
    api_key_file: Path | None = None
    """File with a key that clients must send. Without it, the environment variable SIMSCALE_API_KEY counts."""

    def check(self) -> None:
        """Check the settings.

        Raises:
            SimScaleError: If one is missing or out of range.
        """
        if self.model is None:
            raise SimScaleError("expected --model, got none; for example --model vla")
        if self.model.startswith(PREFIX):
            raise SimScaleError(f"a policy {PREFIX}… acts where its environment is simulated and cannot be served")
        if not 0 <= self.port < 1 << 16:
            raise SimScaleError(f"expected --port from 0 to {(1 << 16) - 1}, got {self.port}")


def run(config: ServeConfig) -> None:
    """Serve until interrupted.

    Raises:
        SimScaleError: If the configuration is wrong, or the server cannot listen.
    """
    config.check()
    for library in ("msgpack", "websockets"):
        import_library(library)
    api_key = read_api_key(config.api_key_file)
    if api_key is None and not is_loopback(config.host):
        raise SimScaleError(
            f"expected an API key to listen at {config.host}, where other machines can connect; name a file with "
            f"--api-key-file, or set {API_KEY_VARIABLE}"
        )
    spec = None if config.env is None else _offer(config.env)
    policy = make_policy(
        config.model or "",
        spec=spec,
        checkpoint=config.checkpoint,
        options=parse_options(config.policy_option),
        device=config.device,
    )
    if spec is not None:
        check_needs(policy.needs, spec)
    raise_at_interrupt()
    asyncio.run(_serve(config, policy, _action(policy, spec), api_key))


async def _serve(config: ServeConfig, policy: Policy, action: ActionSpec, api_key: str | None) -> None:
    from policies.serving.server import PolicyServer

    server = PolicyServer(policy, action, rows=_rows(policy), api_key=api_key)
    stop = asyncio.Event()
    _stop_at_signals(stop)
    report = asyncio.create_task(_report(server))
    try:
        await server.run(config.host, config.port, stop, lambda port: _announce(config, port, policy, action))
    except OSError as error:
        raise SimScaleError(
            f"cannot listen at {config.host}, port {config.port} ({error.strerror}); give another --host or --port"
        ) from error
    finally:
        report.cancel()
    print(f"stopped after {server.traffic.requests:,} requests")


def _rows(policy: Policy) -> int:
    """Return how many requests may share one call: a tile a thread for checkpoints, whose rows never mix, else one."""
    from policies.learned.adapter import PolicyAdapter

    return policy.rows_at_once * policy.calls_at_once if isinstance(policy, PolicyAdapter) else 1


def _action(policy: Policy, spec: EnvSpec | None) -> ActionSpec:
    from policies.learned.adapter import PolicyAdapter

    if spec is not None:
        return spec.action
    if not isinstance(policy, PolicyAdapter):  # make_policy builds others for an environment only
        raise SimScaleError("expected --env, got none")
    return policy.action


def _offer(env: str) -> EnvSpec:
    from envs.registration import find_environment

    return find_environment(env).offer()


def _stop_at_signals(stop: asyncio.Event) -> None:
    """Set `stop` at the first Ctrl-C or SIGTERM. A second one ends the process at once."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        stop.set()
        _say("stopping; Ctrl-C again ends the server at once")

    with suppress(NotImplementedError):  # Windows, where Ctrl-C raises KeyboardInterrupt instead
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end)


# What is printed


def _announce(config: ServeConfig, port: int, policy: Policy, action: ActionSpec) -> None:
    from policies.serving.server import MOST_CONNECTIONS, MOST_EPISODES, most_bytes

    address = f"[{config.host}]" if ":" in config.host else config.host
    options = ", ".join(f"{name}={value}" for name, value in getattr(policy, "options", {}).items())
    lines = {
        "serving": f"{config.model} at ws://{address}:{port}; Ctrl-C stops",
        "identity": getattr(policy, "identity", ""),
        "reads": _reads(policy),
        "actions": action.in_words,
        "options": options,
        "limits": f"{MOST_CONNECTIONS} clients, {MOST_EPISODES:,} episodes, requests of "
        f"{most_bytes(policy.needs) / 1e6:.1f} MB",
        "access": _access(config),
    }
    _say("\n".join(f"{title:<9} {text}" for title, text in lines.items() if text))


def _reads(policy: Policy) -> str:
    needs = policy.needs
    parts = [f"{key} ({layout.size} numbers)" for key, layout in needs.vectors.items()]
    parts += [f"{key} ({height} x {width} x 3, uint8)" for key, (height, width) in needs.cameras.items()]
    parts += ["prompt"] * needs.instruction
    newest = f"; {needs.history} observations each, the newest last" if needs.history > 1 else ""
    return (", ".join(parts) or "nothing") + newest


def _access(config: ServeConfig) -> str:
    if is_loopback(config.host):
        return "programs on this machine"
    return f"every machine that can reach {config.host}, with the API key; nothing is encrypted"


async def _report(server: PolicyServer) -> None:
    """Print from time to time how many requests were answered."""
    before = server.traffic
    while True:
        await asyncio.sleep(_SECONDS_BETWEEN_REPORTS)
        now = server.traffic
        if now.requests > before.requests:  # in a thread, since a terminal may stop reading
            await asyncio.to_thread(_say, _traffic_text(before, now))
        before = now


def _traffic_text(before: Traffic, now: Traffic) -> str:
    requests = now.requests - before.requests
    rows = requests / max(1, now.batches - before.batches)
    return (
        f"{time.strftime('%H:%M:%S')}  {requests / _SECONDS_BETWEEN_REPORTS:.1f} requests/s, {now.clients} clients, "
        f"{rows:.1f} requests a batch"
    )


def _say(text: str) -> None:
    print("\n".join(map(printable, text.split("\n"))), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code: 0 after Ctrl-C, 2 for a user's mistake."""
    try:
        run(parse(ServeConfig, PROGRAM, arguments))
    except (SimScaleError, OSError) as mistake:
        say_mistake(mistake)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
