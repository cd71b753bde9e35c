"""Evaluation of policies: the commands, and the packages that they are made of."""

from eval.neighbours import check_neighbours

check_neighbours()
