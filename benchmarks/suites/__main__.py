"""All release checks of the suites of others: our runs must equal plain loops of their packages.

Each plain loop runs in the interpreter of its suite and uses nothing of this project. The whole takes about an hour.

python -m envs install pusht            # and fetch, metaworld, libero
python -m benchmarks.suites --sb3-python PATH
python -m benchmarks.suites --only libero
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.suites import libero, metaworld, sb3, scripted
from benchmarks.suites.plain import Row, is_equal
from benchmarks.tables import write_csv
from simscaleai.errors import SimScaleError

FILES = {
    "scripted": "suites_scripted.csv",
    "metaworld": "suites_metaworld.csv",
    "sb3": "suites_sb3.csv",
    "libero": "suites_libero.csv",
}
"""Name of each check, and the file of its table."""


def main() -> int:
    """Run the checks and write their tables; return 1 if anything differs or could not be checked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=FILES, default=list(FILES))
    parser.add_argument("--sb3-python", type=Path, help="interpreter with the packages of fetch and stable-baselines3")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="folder of the tables")
    arguments = parser.parse_args()
    checks: dict[str, Callable[[], Iterator[Row]]] = {
        "scripted": scripted.check,
        "metaworld": metaworld.check,
        "sb3": partial(sb3.check, arguments.sb3_python),
        "libero": libero.check,
    }
    failed = []
    for name in arguments.only:
        rows = []
        try:
            for row in checks[name]():
                rows.append(row)
                print(name, row, flush=True)
            write_csv(arguments.output / FILES[name], rows)
        except SimScaleError as error:
            print(f"{name}: not checked: {error}")
        if not rows or not all(map(is_equal, rows)):
            failed.append(name)
    print(f"different or not checked: {', '.join(failed)}" if failed else "everything is equal")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
