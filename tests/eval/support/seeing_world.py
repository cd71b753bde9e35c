"""A small recorded task, and the policy that solves it exactly: what is wrong with a policy is then known.

Two squares lie on a table, a red and a blue one. The camera `front` sees both, the instruction names one of them. The
camera `wrist` sees a green square, whose row is a height. An action moves towards the named square.
"""

import numpy as np

from policies.base import Policy
from simscaleai.contract import Feature, Layout, Needs
from simscaleai.data import DatasetWriter

SIDE = 16
TEXTS = ("take the red one", "take the blue one")
STATE = Layout(
    (
        Feature("position", 3, "m", "world"),
        Feature("joints", 2, "rad", "joint"),
        Feature("opening", 1, "m", "gripper"),
    )
)
NEEDS = Needs(
    vectors={"state": STATE},
    cameras={"front": (SIDE, SIDE), "wrist": (SIDE, SIDE)},
    instruction=True,
    environments={},
    action="towards the square",
    control_hz=10,
    max_episode_steps=12,
)
MEAN = np.array([0.4, -0.3, 0.5, 2.0, -1.0, 0.04])
SPREAD = np.array([0.1, 0.1, 0.1, 0.5, 0.5, 0.02])


def square(image, place, colour):
    row, column = place
    image[row : row + 3, column : column + 3] = colour


def waves(rng, length, count):
    """Returns smooth curves with zero mean and unit standard deviation, (length, count)."""
    speeds, phases = rng.uniform(0.2, 0.5, count), rng.uniform(0, 2 * np.pi, count)
    return np.sqrt(2) * np.sin(np.arange(length)[:, None] * speeds + phases)


def draw(rng, length, colours):
    """Returns images in which one square of each colour moves."""
    images = np.full((length, SIDE, SIDE, 3), 40, np.uint8)
    places = np.round((waves(rng, length, 2 * len(colours)) / np.sqrt(2) + 1) / 2 * (SIDE - 3)).astype(int)
    for image, corners in zip(images, places.reshape(length, -1, 2), strict=True):
        for corner, colour in zip(corners, colours, strict=True):
            square(image, corner, colour)
    return images


def write_dataset(folder, episodes=20, length=24, noise=0.0, absolute=False, texts=TEXTS):
    rng = np.random.default_rng(0)
    with DatasetWriter(folder, NEEDS) as writer:
        for number in range(episodes):
            text = texts[number % len(texts)]
            state = (MEAN + SPREAD * waves(rng, length, 6)).astype(np.float32)
            front = draw(rng, length, [(30, 40, 220), (220, 40, 30)])
            wrist = draw(rng, length, [(30, 200, 60)])
            actions = solve(state, front, wrist, [text] * length)
            actions += noise * rng.normal(size=actions.shape)
            if absolute:
                actions[:, :3] = state[:, :3] + 0.02 * actions[:, :3]
            arrays = {
                "observation.state": state,
                "observation.images.front": front,
                "observation.images.wrist": wrist,
                "action": actions.astype(np.float32),
            }
            metadata = {"seed": None, "environment": None, "instruction": text, "success": True}
            writer.write_episode(arrays, metadata, number)


def place(images, channel):
    """Returns row and column of the square of a colour, in [-1, 1], (n, 2)."""
    values = images.astype(np.float64) / 255
    others = values.sum(-1) - values[..., channel]
    weights = np.clip(values[..., channel] - others - 0.2, 0, None) + 1e-9
    rows, columns = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    total = weights.sum((1, 2))
    return np.stack([(weights * rows).sum((1, 2)) / total, (weights * columns).sum((1, 2)) / total], axis=1)


def solve(state, front, wrist, texts):
    """Returns the right action for each row, (n, 4)."""
    named = np.array([[0.0, 1.0] if "blue" in text else [1.0, 0.0] for text in texts])
    target = named[:, :1] * place(front, 0) + named[:, 1:] * place(front, 2)
    normal = (state - MEAN) / SPREAD
    x, y = target[:, 1] - 0.3 * normal[:, 0], target[:, 0] - 0.3 * normal[:, 1]
    z = place(wrist, 1)[:, 0] - 0.3 * normal[:, 2] + 0.2 * np.tanh(normal[:, 3])
    gripper = np.where(normal[:, 4] + normal[:, 5] > 0, 1.0, -1.0)
    return np.stack([x, y, z, gripper], axis=1)


class Solver(Policy):
    """Solves the task; subclasses plant a fault."""

    needs = NEEDS

    def __init__(self, spec):
        self.texts = {}

    def reset(self, slots, seeds, instructions):
        self.texts.update(zip(slots.tolist(), instructions, strict=True))

    def see(self, seen):
        return seen

    def read(self, text):
        return text

    def give(self, actions, seen):
        return actions

    def predict(self, observation, slots):
        seen = self.see(dict(observation))
        texts = [self.read(self.texts[slot]) for slot in slots.tolist()]
        actions = solve(seen["state"], seen["front"], seen["wrist"], texts)
        return self.give(actions, observation)[:, None].astype(np.float32)
