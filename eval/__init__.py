"""Evaluation of policies: the commands, and the packages that they are made of."""

from eval.neighbours import check_neighbours

check_neighbours()

import simscaleai  # noqa: E402, F401  # before slow libraries: it lets Ctrl-C end a command without a traceback
