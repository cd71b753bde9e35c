"""Probing a policy: giving it other words, images or vectors, or changing its actions, to learn what it depends on."""
