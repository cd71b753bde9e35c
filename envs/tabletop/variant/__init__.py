"""The variant of a scene, with distractors and a texture, and the simulations that run in it."""
