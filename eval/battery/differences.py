"""Differences of two policies over arms of the same battery, paired by arm and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from eval.battery.cells import Outcomes
from eval.episodes.battery import CONTROL
from eval.statistics.multiplicity import holm
from eval.statistics.rates import LEVEL
from eval.statistics.robustness import Cells, Estimate, sign_flip_exact


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Success rate of B minus that of A over some arms, paired by arm and seed."""

    name: str
    """Name of an axis, `CONTROL`, or "overall"."""
    rate_a: float
    """Mean success rate of A over the arms."""
    rate_b: float
    """Mean success rate of B over the arms."""
    estimate: Estimate
    p_value: float
    """Exact p-value of "A and B are equally good", from the sign of the difference of each start."""
    holm_p: float | None = None
    """`p_value` adjusted for all axes; None for what is no axis."""

    @property
    def is_significant(self) -> bool:
        """Whether A and B differ, also after the adjustment for several axes."""
        return (self.p_value if self.holm_p is None else self.holm_p) <= 1 - LEVEL


def difference(
    a: Outcomes,
    b: Outcomes,
    name: str,
    arms: Sequence[str],
    *,
    errors_of_a: bool = False,
    errors_of_b: bool = False,
) -> Difference:
    """Return the difference of the mean success rates of A and B over `arms`, on the starts that both have.

    Args:
        a: Episodes of the policy to compare with.
        b: Episodes of the policy to judge.
        name: Name of what is compared.
        arms: Names of the arms.
        errors_of_a: Count episodes of A that could not be run as successes.
        errors_of_b: The same for B.
    """
    seeds = [seed for seed in a.seeds if seed in b.seeds]
    of_a = a.outcomes(arms, seeds, errors_succeed=errors_of_a)
    of_b = b.outcomes(arms, seeds, errors_succeed=errors_of_b)
    share = np.full(len(arms), 1 / len(arms))
    return Difference(
        name=name,
        rate_a=float(of_a.mean()),
        rate_b=float(of_b.mean()),
        estimate=Cells(np.hstack([of_a, of_b])).combination(np.concatenate([-share, share])),
        p_value=sign_flip_exact(of_b.sum(axis=1) - of_a.sum(axis=1)),
    )


def adjusted(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """Return `differences` with their p-values adjusted for each other (Holm)."""
    p_values = holm([each.p_value for each in differences])
    return tuple(replace(each, holm_p=p) for each, p in zip(differences, p_values, strict=True))


def option_differences(tested: Outcomes, options: Mapping[str, Outcomes]) -> tuple[Difference, ...]:
    """Return, for each option by its name, the unperturbed success rate with it (B) minus that without it (A)."""
    return adjusted([difference(tested, other, name, [CONTROL]) for name, other in options.items()])
