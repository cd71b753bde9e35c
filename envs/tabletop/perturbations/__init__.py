"""Perturbations of the scene: physical changes of one episode's looks, dynamics or start."""
