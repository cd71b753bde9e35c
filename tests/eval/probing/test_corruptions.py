"""Corruptions of images: the effect of a magnitude, measured in the pixels, is the magnitude."""

import io

import numpy as np
import pytest
from PIL import Image

from eval.probing.corruptions import (
    CORRUPTIONS,
    add_noise,
    blur,
    compress,
    expose,
    occlude,
    reduce_contrast,
)

BY_NAME = {corruption.axis.name: corruption for corruption in CORRUPTIONS}


def stream(seed=0):
    return np.random.default_rng(seed)


def picture(height=48, width=64, n=2):
    """Return smooth images with all colours and no clipping."""
    y, x = np.mgrid[:height, :width]
    red, green = 60 + 120 * x / width, 60 + 120 * y / height
    images = [np.stack([red, green, 60 + 2 * each + (red + green) / 4], axis=-1) for each in range(n)]
    return np.stack(images).astype(np.uint8)


def edge(height=40, width=120, low=40, high=200):
    image = np.full((1, height, width, 3), low, dtype=np.uint8)
    image[:, :, width // 2 :] = high
    return image


@pytest.mark.parametrize("deviation", [0.7, 1, 1.5, 2, 3, 7])
def test_the_width_of_a_blurred_edge_is_the_standard_deviation(deviation):
    """The derivative of a blurred step is the kernel: its second moment is the variance."""
    profile = blur(edge(), deviation, stream())[0, 20, :, 1].astype(float)
    kernel = np.diff(profile) / 160
    offsets = np.arange(len(kernel)) - 59
    assert kernel.sum() == pytest.approx(1)
    assert (kernel * offsets).sum() == pytest.approx(0, abs=0.05)
    assert np.sqrt((kernel * offsets**2).sum()) == pytest.approx(deviation, rel=0.04)


def test_a_blur_is_the_same_along_both_axes_and_leaves_a_plain_image_alone():
    image = edge(60, 60)
    np.testing.assert_array_equal(blur(image.swapaxes(1, 2), 2, stream()), blur(image, 2, stream()).swapaxes(1, 2))
    plain = np.full((1, 20, 30, 3), 77, np.uint8)
    np.testing.assert_array_equal(blur(plain, 3, stream()), plain)


@pytest.mark.parametrize("percent", [4, 8, 12])
def test_noise_has_the_standard_deviation_and_no_bias(percent):
    grey = np.full((4, 96, 96, 3), 128, np.uint8)
    difference = add_noise(grey, percent, stream()).astype(float) - 128
    assert difference.std() == pytest.approx(2.55 * percent, rel=0.02)
    assert abs(difference.mean()) < 0.3
    assert abs(np.corrcoef(difference[0].ravel(), difference[1].ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("lost", [50, 75, 95])
def test_jpeg_is_that_of_pillow_at_this_quality(lost):
    images = picture()
    for image, found in zip(images, compress(images, lost, stream()), strict=True):
        file = io.BytesIO()
        Image.fromarray(image).save(file, format="JPEG", quality=100 - lost)
        np.testing.assert_array_equal(found, np.asarray(Image.open(file)))


@pytest.mark.parametrize("stops", [-2.5, -1, -0.25, 0.25, 0.5])
def test_a_stop_doubles_the_light(stops):
    def light(pixels):
        share = pixels.astype(float) / 255
        return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)

    grey = np.full((1, 8, 8, 3), 120, np.uint8)
    ratio = light(expose(grey, stops, stream())).mean() / light(grey).mean()
    assert np.log2(ratio) == pytest.approx(stops, abs=0.06)  # pixels are whole numbers


def test_exposure_clips_to_white_and_keeps_black():
    image = np.array([[[[0, 128, 255]] * 2]], np.uint8)
    assert expose(image, 3, stream())[0, 0, 0].tolist() == [0, 255, 255]


@pytest.mark.parametrize("percent", [20, 60, 90])
def test_contrast_shrinks_and_the_mean_colour_stays(percent):
    images = picture()
    lower = reduce_contrast(images, percent, stream())
    for before, after in zip(images.astype(float), lower.astype(float), strict=True):
        np.testing.assert_allclose(after.mean(axis=(0, 1)), before.mean(axis=(0, 1)), atol=0.5)
        np.testing.assert_allclose(after.std(axis=(0, 1)), (1 - percent / 100) * before.std(axis=(0, 1)), atol=0.5)


@pytest.mark.parametrize("percent", [5, 10, 20, 30, 40, 100])
@pytest.mark.parametrize("size", [(96, 96), (48, 64)])
def test_the_share_of_the_picture_is_covered_in_black(percent, size):
    images = picture(*size)
    covered = occlude(images, percent, stream(3))
    black = (covered == 0).all(axis=-1)
    assert black[0].mean() == pytest.approx(percent / 100, abs=0.02)
    np.testing.assert_array_equal(black[0], black[1])
    np.testing.assert_array_equal(covered[~black], images[~black])
    places = {occlude(images, 20, stream(seed)).tobytes() for seed in range(9)}
    assert percent == 100 or len(places) > 5


@pytest.mark.parametrize("name", BY_NAME)
def test_levels_get_worse_and_inputs_stay(name):
    corruption, images = BY_NAME[name], picture()
    images += np.random.default_rng(0).integers(0, 40, images.shape, dtype=np.uint8)
    before = images.copy()
    changes = [
        np.abs(corruption.apply(images, size, stream()).astype(float) - images).mean()
        for size in corruption.axis.magnitudes
    ]
    assert changes == sorted(changes)
    assert changes[0] > 0
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("name", BY_NAME)
def test_the_largest_magnitude_is_possible(name):
    corruption, images = BY_NAME[name], picture(16, 16)
    sizes = [corruption.axis.limit, *([-corruption.axis.limit] if corruption.axis.is_signed else [])]
    for size in sizes:
        found = corruption.apply(images, size, stream())
        assert (found.shape, found.dtype) == (images.shape, np.uint8)
