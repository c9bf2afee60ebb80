import numpy as np
import pytest

from harness.errors import EndpointBadAnswer
from harness.images.preprocess import Preprocess, preprocess
from harness.search.oracle import model_input, to_floats, to_lattice
from harness.search.requests import Differentiate

LAYOUTS = pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
SCALES = pytest.mark.parametrize(
    "scale",
    [
        {},
        {"range": (-1.0, 1.0)},
        {"range": (0.0, 255.0)},
        {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
        {"range": (-1.0, 2.0), "mean": (0.1, 0.2, 0.3), "std": (0.5, 1.0, 2.0)},
    ],
)


def last_input(oracle):
    return oracle.model.backend.inputs[-1]


@LAYOUTS
@SCALES
def test_pixels_reach_a_model_as_preprocessing_leaves_them(make_oracle, seeds, layout, scale):
    oracle = make_oracle(layout=layout, **scale)
    oracle.logits([seed.pixels for seed in seeds])
    spec = oracle.model.card.preprocess
    np.testing.assert_array_equal(last_input(oracle), np.stack([preprocess(seed.pixels, spec) for seed in seeds]))


@LAYOUTS
@SCALES
def test_floats_reach_a_model_unrounded(make_oracle, seeds, layout, scale):
    spec = make_oracle(layout=layout, **scale).model.card.preprocess
    pixels = seeds[0].pixels
    on, above = to_floats(pixels // 2), to_floats(pixels // 2 + 1)
    at = [model_input(image, spec) for image in (on, (on + above) / 2, above)]
    assert all(value.dtype == np.float32 and value.flags["C_CONTIGUOUS"] for value in at)
    np.testing.assert_allclose(at[0], preprocess(pixels // 2, spec), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(at[1], (at[0] + at[2]) / 2, rtol=1e-5, atol=1e-4)
    assert (at[1] != at[0]).all()


@LAYOUTS
def test_a_model_of_pixels_gets_the_nearest_ones(make_oracle, seeds, layout):
    oracle = make_oracle(dtype="uint8", layout=layout)
    pixels = seeds[0].pixels
    oracle.logits([np.clip(to_floats(pixels) + 0.4 / 255, 0, 1), np.clip(to_floats(pixels) - 0.4 / 255, 0, 1), pixels])
    assert last_input(oracle).dtype == np.uint8
    for value in last_input(oracle):
        np.testing.assert_array_equal(value.transpose(1, 2, 0) if layout == "NCHW" else value, pixels)


def test_nothing_is_resized_or_cropped(seeds):
    spec = Preprocess(resize=4, crop=2)
    np.testing.assert_array_equal(model_input(seeds[0].pixels, spec), seeds[0].pixels)


def test_all_levels_survive_being_floats():
    levels = np.arange(256, dtype=np.uint8).reshape(1, -1, 1)
    np.testing.assert_array_equal(to_lattice(to_floats(levels)), levels)
    np.testing.assert_array_equal(to_lattice(np.array([-0.5, 1.5], np.float32)), [0, 255])


def test_requests_are_cut_into_the_models_batches(make_oracle, seeds):
    oracle = make_oracle(batch=3)
    images = [seed.pixels for seed in seeds]
    together = oracle.logits(images)
    assert oracle.model.backend.asked == [3, 3, 2]
    np.testing.assert_array_equal(together, oracle.logits(images, batch=1))
    assert oracle.model.backend.asked[3:] == [1] * 8
    np.testing.assert_array_equal(together, [seed.white for seed in seeds])
    assert oracle.logits([]).shape == (0, 4)


@LAYOUTS
@SCALES
def test_slopes_are_what_differences_say(make_oracle, seeds, layout, scale):
    oracle, plain = make_oracle(gradient=True, batch=3, layout=layout, **scale), make_oracle(layout=layout, **scale)
    draw = np.random.default_rng(3)
    requests = [
        Differentiate(to_floats(seed.pixels), "margin", np.eye(4, dtype=np.float32)[seed.label]) for seed in seeds[:4]
    ] + [Differentiate(to_floats(seed.pixels), "kl", draw.normal(size=4).astype(np.float32), 4.0) for seed in seeds[:4]]
    slopes = oracle.slopes(requests)
    assert oracle.model.backend.asked == [3, 3, 2]
    for request, slope in zip(requests, slopes, strict=True):
        assert slope.gradient.shape == request.image.shape
        assert slope.gradient.flags["C_CONTIGUOUS"]
        np.testing.assert_array_equal(slope.logits, plain.logits([request.image])[0])
        for place in [(0, 0, 0), (5, 4, 2), (2, 3, 1)]:
            ends = []
            for sign in (1, -1):
                image = request.image.copy()
                image[place] += sign * 0.01
                ends.append(Differentiate(image, request.loss, request.target, request.temperature))
            above, below = (oracle.slopes([end])[0].loss for end in ends)
            steps = ends[0].image[place] - ends[1].image[place]
            assert slope.gradient[place] == pytest.approx((above - below) / steps, rel=2e-2, abs=2e-2)


@pytest.mark.parametrize("loss", ["margin", "kl"])
def test_losses_are_those_named(make_oracle, seeds, loss):
    oracle, seed = make_oracle(gradient=True), seeds[0]
    target = seed.white if loss == "kl" else np.eye(4, dtype=np.float32)[seed.label]
    (slope,) = oracle.slopes([Differentiate(seed.pixels, loss, target, 4.0)])
    first, second = np.sort(seed.white)[:-3:-1]
    assert slope.loss == pytest.approx(0 if loss == "kl" else first - second, abs=1e-5)


def test_answers_of_another_shape_are_refused(make_oracle, seeds):
    oracle = make_oracle(faults={0: "shape"})
    with pytest.raises(EndpointBadAnswer, match=r"output score: expected shape \(1, 4\), got \(1, 3\)"):
        oracle.logits([seeds[0].pixels])


def test_a_classifier_gives_no_slopes(make_oracle, seeds):
    request = Differentiate(seeds[0].pixels, "margin", np.eye(4, dtype=np.float32)[0])
    with pytest.raises(EndpointBadAnswer, match="output loss: expected shape"):
        make_oracle().slopes([request])
