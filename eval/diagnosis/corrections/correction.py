"""`Correction`, a change of what a policy gets or gives. If it lowers the error, the policy has the fault it undoes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from eval.diagnosis.recorded import Answers
from simscaleai.contract import Observation


@dataclass(frozen=True, kw_only=True)
class Correction:
    """One change of what a policy gets or gives, and the fault that it would undo."""

    fault: str
    """Name of the fault, for example "images.channels"."""
    cause: str
    """What is wrong if the correction helps, in words."""
    remedy: str
    """What to do then, in words."""
    observe: Callable[[Observation], Observation] | None = None
    """Changes the observations before the policy gets them."""
    act: Callable[[Answers], Answers] | None = None
    """Changes the answers, or with what they are compared. It needs no further call of the policy."""
    forgets: bool = False
    """Whether the policy is reset before every look."""
    is_fitted: bool = False
    """Whether numbers were fitted to the screening episodes. A correction without such numbers is preferred."""
    rescales: bool = False
    """Whether it scales or moves actions. That lowers the error of many a bad policy, so more is asked of it."""
