"""Evaluation: one rollout loop, its observers, and the commands around it."""

from eval.neighbours import check_neighbours

check_neighbours()
