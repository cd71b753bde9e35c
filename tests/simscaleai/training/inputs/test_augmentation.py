from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from torch import Tensor

from simscaleai.training.inputs import augmentation
from simscaleai.training.inputs.augmentation import augmented, draw

IDENTITY = {
    "colour": torch.eye(3).view(1, 1, 3, 3),
    "contrast": torch.ones(1, 1, 1, 1, 1),
    "blur": torch.eye(9)[4].view(1, 1, 9),
}


def picture(size: int = 16) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((1, 1, 3, size, size), np.float32)) * 0.5 + 0.25


def only(monkeypatch: pytest.MonkeyPatch, name: str) -> dict[str, Tensor]:
    """Return changes of strength 1 of 500 images with one camera, of which only those of `name` are not zero."""
    for other in {"BRIGHTNESS", "CONTRAST", "SATURATION", "HUE", "BLUR"} - {name}:
        monkeypatch.setattr(augmentation, other, 0.0)
    return draw(np.random.default_rng(1), (500, 1), 1.0)


def plain(colour: tuple[float, float, float]) -> Tensor:
    """Return 500 images of one colour."""
    return torch.tensor(colour).view(1, 1, 3, 1, 1).expand(500, 1, 3, 6, 6).contiguous()


def hsv(images: Tensor) -> np.ndarray:
    return np.array([colorsys.rgb_to_hsv(*colour) for colour in images[:, 0, :, 3, 3].tolist()])


def test_no_change_is_the_same_picture() -> None:
    torch.testing.assert_close(augmented(picture(), **IDENTITY), picture())


def test_brightness_scales_light_by_up_to_its_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = augmented(plain((0.1, 0.2, 0.3)), **only(monkeypatch, "BRIGHTNESS"))
    stops = torch.log2(changed / plain((0.1, 0.2, 0.3)))
    assert -1.3 <= stops.min() < -1.25
    assert 1.25 < stops.max() <= 1.3001
    assert stops.std(dim=(1, 2, 3, 4)).max() < 1e-5


def test_hue_turns_within_its_limit_and_keeps_grey(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = only(monkeypatch, "HUE")
    turned = hsv(augmented(plain((0.6, 0.3, 0.3)), **changes))[:, 0] * 360
    turned = (turned + 180) % 360 - 180
    assert -21 < turned.min() < -18
    assert 18 < turned.max() < 21
    torch.testing.assert_close(augmented(plain((0.4, 0.4, 0.4)), **changes), plain((0.4, 0.4, 0.4)))


def test_saturation_changes_and_keeps_the_brightness(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = augmented(plain((0.5, 0.3, 0.3)), **only(monkeypatch, "SATURATION"))
    luma = torch.tensor([0.299, 0.587, 0.114])
    brightness = (changed[:, 0, :, 3, 3] * luma).sum(dim=1)
    torch.testing.assert_close(brightness, torch.full((500,), 0.5 * 0.299 + 0.3 * 0.701))
    distance = changed[:, 0, 0, 3, 3] - changed[:, 0, 1, 3, 3]
    assert 0.06 < distance.min() < 0.07
    assert 0.33 < distance.max() <= 0.341


def test_contrast_scales_distances_from_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    images = picture().expand(500, 1, 3, 16, 16).contiguous()
    changed = augmented(images, **only(monkeypatch, "CONTRAST"))
    ratios = changed.std(dim=(3, 4)) / images.std(dim=(3, 4))
    assert 0.5 <= ratios.min() < 0.52
    assert 1.45 < ratios.max() <= 1.51


def test_blur_spreads_a_point_and_keeps_its_light(monkeypatch: pytest.MonkeyPatch) -> None:
    point = torch.zeros(500, 1, 3, 17, 17)
    point[..., 8, 8] = 1.0
    changed = augmented(point, **only(monkeypatch, "BLUR"))
    torch.testing.assert_close(changed.sum(dim=(3, 4)), point.sum(dim=(3, 4)))
    rows = changed[:, 0, 0].sum(dim=2)
    deviation = (rows * (torch.arange(17) - 8) ** 2).sum(dim=1).sqrt()
    assert deviation.min() < 0.1
    assert 1.35 < deviation.max() <= 1.5


def test_strength_scales_every_change_and_each_camera_has_its_own() -> None:
    weak, strong = (draw(np.random.default_rng(0), (50, 2), strength) for strength in (0.1, 1.0))
    for name in ("contrast", "colour"):
        assert (weak[name] - IDENTITY[name]).abs().mean() < 0.2 * (strong[name] - IDENTITY[name]).abs().mean()
    assert not torch.equal(strong["colour"][:, 0], strong["colour"][:, 1])
