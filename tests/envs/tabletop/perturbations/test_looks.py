"""The measured effect of each perturbation of looks is what it says."""

import numpy as np
import pytest
from perturbed_worlds import NAMES, SEED, axes_of, begin, make, model_edits, scene_of, see

from envs.tabletop.perturbations.cielab import delta_e, to_lab, to_rgb
from envs.tabletop.perturbations.rotations import rotate

SEEDS = range(SEED, SEED + 25)
FRONT, WRIST = 0, 1


def sight(model_or_edits, camera):
    quats = model_or_edits["cam_quat"] if isinstance(model_or_edits, dict) else model_or_edits.cam_quat
    return rotate(quats[camera], np.array([0.0, 0.0, -1.0]))


def angle(a, b):
    return np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("degrees", [15, 75])
def test_azimuth_turns_the_camera_around_the_place_it_looks_at(name, degrees):
    model, changed = scene_of(name), model_edits(name, {"camera.azimuth": degrees})
    position, before = changed["cam_pos"][FRONT], model.cam_pos[FRONT]
    seen = [p - s * p[2] / s[2] for p, s in ((position, sight(changed, FRONT)), (before, sight(model, FRONT)))]
    np.testing.assert_allclose(seen[0], seen[1], atol=1e-9)
    assert angle((position - seen[0])[:2], (before - seen[1])[:2]) == pytest.approx(degrees)
    assert position[2] == pytest.approx(before[2])
    np.testing.assert_array_equal(changed["cam_pos"][WRIST], model.cam_pos[WRIST])


def test_distance_moves_the_camera_back_and_things_look_smaller():
    model, changed = scene_of("pick-place"), model_edits("pick-place", {"camera.distance": 50})
    position, before = changed["cam_pos"][FRONT], model.cam_pos[FRONT]
    line = sight(model, FRONT)
    assert position[2] / before[2] == pytest.approx(1.5)  # height over the table grows as the distance does
    assert angle(before - position, line) == pytest.approx(0, abs=1e-3)
    sizes = []
    for perturbation in (None, {"camera.distance": 100}):
        env = make("pick-place", size=96)
        begin(env, perturbation)
        image = see(env)["front"][0].astype(int)
        sizes.append(int(((image[..., 0] > 120) & (image[..., 1] < 80)).sum()))
        env.close()
    assert 0.12 < sizes[1] / sizes[0] < 0.4  # about a quarter of the pixels


@pytest.mark.parametrize(("axis", "camera"), [("camera.aim", FRONT), ("wrist.aim", WRIST)])
def test_aim_turns_the_line_of_sight(axis, camera):
    model = scene_of("reach")
    for seed in SEEDS:
        changed = model_edits("reach", {axis: 6}, seed)
        assert angle(sight(changed, camera), sight(model, camera)) == pytest.approx(6)
        assert "cam_pos" not in changed
        np.testing.assert_array_equal(changed["cam_quat"][1 - camera], model.cam_quat[1 - camera])


@pytest.mark.parametrize("stops", [-1.0, -0.5, 0.25])
def test_intensity_scales_the_pixels(stops):
    means = []
    for perturbation in (None, {"light.intensity": -1.0}, {"light.intensity": -1.0 + stops}):
        env = make("pick-place", size=64)
        begin(env, perturbation)
        means.append(see(env)["front"][0].astype(float).mean())
        env.close()
    assert means[2] / means[1] == pytest.approx(2**stops, rel=0.02)
    assert means[1] / means[0] == pytest.approx(0.5, rel=0.05)  # the nominal picture saturates a little


def test_light_colour_has_its_distance_from_grey():
    model = scene_of("reach")
    for seed in SEEDS:
        gain = model_edits("reach", {"light.colour": 20}, seed)["light_diffuse"] / model.light_diffuse
        grey = np.full(3, 0.7)
        assert delta_e(grey, grey * gain[0]) == pytest.approx(20, rel=1e-3)
        assert to_lab(grey * gain[0])[0] == pytest.approx(to_lab(grey)[0], abs=0.01)


def test_light_direction_turns_the_lights_and_keeps_them_up():
    model = scene_of("reach")
    for seed in SEEDS:
        directions = model_edits("reach", {"light.direction": 50}, seed)["light_dir"]
        assert angle(directions[0], model.light_dir[0]) == pytest.approx(50)
        assert (directions[:, 2] < -0.17).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [1, 3, 5])
def test_colours_have_their_distance_and_keep_their_names(name, level):
    model, axes = scene_of(name), {axis.name: axis for axis in axes_of(name) if axis.name.endswith(".colour")}
    materials = {"table.colour": ["table"], "background.colour": ["floor", "table_edge"], "goal.colour": ["goal"]}
    cubes = [c for c in ("red", "green", "blue") if model.material(c).id in model.geom_matid]
    materials["object.colour"] = cubes
    named = [*cubes, *(["goal"] if "goal.colour" in axes else [])]

    def colour(rgba, material):
        return rgba[model.material(material).id, :3].astype(float)

    for seed in SEEDS:
        for axis in set(axes) & set(materials):
            rgba = model_edits(name, {axis: axes[axis].magnitude(level)}, seed)["mat_rgba"]
            assert ((rgba >= 0) & (rgba <= 1)).all()
            for material in materials[axis]:
                changed = colour(rgba, material)
                own = delta_e(changed, colour(model.mat_rgba, material))
                assert own == pytest.approx(axes[axis].magnitude(level), rel=1e-3)
                if material in named:
                    others = [delta_e(changed, colour(model.mat_rgba, each)) for each in named if each != material]
                    assert all(other >= own + 29.9 for other in others)
            assert len(np.flatnonzero((rgba != model.mat_rgba).any(axis=1))) == len(materials[axis])


def test_cielab_agrees_with_published_values():
    known = {(1, 1, 1): (100, 0, 0), (1, 0, 0): (53.24, 80.09, 67.20), (0, 0, 1): (32.30, 79.19, -107.86)}
    for rgb, lab in known.items():
        np.testing.assert_allclose(to_lab(np.array(rgb, float)), lab, atol=0.02)
        np.testing.assert_allclose(to_rgb(np.array(lab, float)), rgb, atol=2e-3)
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 6)] * 3), axis=-1)
    np.testing.assert_allclose(to_rgb(to_lab(grid)), grid, atol=1e-9)
