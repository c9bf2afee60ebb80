"""Gradients of metrics against finite differences, closed forms and scikit-image; LPIPS against its package."""

from pathlib import Path
from typing import Any

import lpips
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from torch import nn
from torchvision import models

from export.differences import METRICS, TorchCam, gradient_map, lpips_map, measure
from export.differences import perceptual as module
from export.onnx import quiet
from harness.difference import difference
from harness.errors import CardError, CheckpointError, HarnessError, ImageError, SuiteError

Planes = NDArray[np.float32]


def pair(side: int = 48, channels: int = 3, seed: int = 0) -> tuple[Planes, Planes]:
    """A smooth picture, and the same with a square of it changed and some noise."""
    random = np.random.default_rng(seed)
    ramp = np.linspace(0.2, 0.8, side)
    a = np.stack([np.outer(ramp, ramp[:: 1 if channel % 2 else -1]) for channel in range(channels)], axis=-1)
    a = (a + random.normal(0, 0.02, a.shape)).clip(0.01, 0.99)
    b = (a + random.normal(0, 0.01, a.shape)).clip(0.01, 0.99)
    b[side // 4 : side // 2, side // 3 : side // 2] = 0.9
    return a.astype(np.float32), b.astype(np.float32)


@pytest.fixture(scope="module")
def squeeze(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of a backbone that no one trained; its distance is one all the same."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "squeezenet.pth"
    torch.save(models.squeezenet1_1(weights=None).state_dict(), file)
    return f"squeeze:{file}"


SIDES = {"ms_ssim": 176, "lpips": 64}


@pytest.mark.parametrize("metric", METRICS)
def test_gradient_is_the_slope_of_the_metric(metric: str, squeeze: str) -> None:
    a, b = pair(SIDES.get(metric, 48))
    before = a.copy(), b.copy()
    gradient = gradient_map(a, b, metric, squeeze)
    assert gradient.dtype == np.float32
    assert gradient.shape == a.shape
    np.testing.assert_array_equal((a, b), before)
    way = (gradient / np.abs(gradient).max()).astype(np.float32)
    step = np.float32(2e-4 if metric == "lpips" else 2e-3)  # rectifiers flip in large ones
    slope = (measure(a + step * way, b, metric, squeeze) - measure(a - step * way, b, metric, squeeze)) / (2 * step)
    assert slope == pytest.approx(float((gradient.astype(np.float64) * way).sum()), rel=0.03)


def test_closed_forms() -> None:
    a, b = (planes.astype(np.float64) for planes in pair())
    gap, count = a - b, a.size
    shared, total = (a * b).sum(), a.sum() + b.sum()
    union = total - shared
    known = {
        "mse": 2 * gap / count,
        "psnr": -20 / np.log(10) * gap / (gap**2).sum(),
        "dice": -2 * b / total + 2 * shared / total**2,
        "jaccard": -b / union + shared * (1 - b) / union**2,
    }
    for metric, expected in known.items():
        np.testing.assert_allclose(gradient_map(*pair(), metric), expected, rtol=1e-4, atol=1e-10)


def test_structural_similarity_is_scikit_images() -> None:
    a, b = pair()
    said: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    known = structural_similarity(a.astype(float), b.astype(float), channel_axis=2, **said)
    assert measure(a, b, "ssim") == pytest.approx(known, abs=1e-5)
    way = np.random.default_rng(1).normal(size=a.shape)
    ahead, behind = (
        structural_similarity(a + step * way, b.astype(float), channel_axis=2, **said) for step in (1e-5, -1e-5)
    )
    assert float((gradient_map(a, b, "ssim") * way).sum()) == pytest.approx((ahead - behind) / 2e-5, rel=1e-3)


@pytest.mark.parametrize("metric", METRICS)
def test_equal_images_have_no_gradient(metric: str, squeeze: str) -> None:
    a, _ = pair(SIDES.get(metric, 48))
    assert not gradient_map(a, a.copy(), metric, squeeze).any()


@pytest.mark.parametrize(("metric", "value"), [("psnr", np.inf), ("ms_ssim", 1.0), ("lpips", 0.0), ("mse", 0.0)])
def test_figures_of_equal_images(metric: str, value: float, squeeze: str) -> None:
    a, _ = pair(SIDES.get(metric, 48))
    assert measure(a, a.copy(), metric, squeeze) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_gradients_of_extremes_are_numbers(metric: str, squeeze: str) -> None:
    a, _ = pair(SIDES.get(metric, 48))
    black, white = np.zeros_like(a), np.ones_like(a)
    for first, second in ((a, 1 - a), (black, white), (black, a)):
        assert np.isfinite(gradient_map(first, second, metric, squeeze)).all()


def test_negatives_are_empty_sets() -> None:
    a, b = pair()
    assert not gradient_map(-a, -b, "dice").any()
    assert not gradient_map(-a, -b, "jaccard").any()


@pytest.mark.parametrize("channels", [1, 4, 12])
def test_any_number_of_channels(channels: int) -> None:
    a, b = pair(channels=channels)
    for metric in ("mse", "psnr", "ssim", "dice", "jaccard"):
        assert gradient_map(a - 0.5, b - 0.5, metric).shape == a.shape


def test_perceptual_distance_is_its_packages(squeeze: str) -> None:
    a, b = pair(65)
    b = b[:, ::-1].copy()
    x, y = (torch.from_numpy(planes.transpose(2, 0, 1).copy())[None] for planes in (a, b))
    with quiet():
        theirs: Any = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
    state = torch.load(squeeze.partition(":")[2], weights_only=True)
    for key, value in theirs.net.state_dict().items():
        value.copy_(state[f"features.{key.partition('.')[2]}"])
    with torch.no_grad():
        known = float(theirs(x, y, normalize=True))
        theirs.spatial = True
        where = theirs(x, y, normalize=True)[0, 0].numpy()
    assert known > 0.01
    assert measure(a, b, "lpips", squeeze) == pytest.approx(known, rel=1e-4)
    found = lpips_map(a, b, squeeze)
    np.testing.assert_allclose(found, where, rtol=1e-3, atol=1e-6)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert not lpips_map(a, a, squeeze).any()


def test_trained_weights_see_where_pictures_differ(discern_data: Path) -> None:
    a, b = pair(96)
    found = lpips_map(a, b, f"squeeze:{discern_data / 'weights' / 'squeezenet1_1.pth'}")
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert 24 <= row < 48
    assert 32 <= column < 48
    assert found[24:48, 32:48].mean() > 2 * found.mean()


@pytest.mark.parametrize("name", ["alex", "vgg"])
def test_other_backbones_fit(name: str) -> None:
    plain: Any = models.alexnet if name == "alex" else models.vgg16
    with torch.device("meta"):
        state = plain(weights=None).features.state_dict()
    slices: Any = module.lpips.pretrained_networks.alexnet if name == "alex" else module.lpips.pretrained_networks.vgg16
    with torch.device("meta"), quiet():
        backbone = slices(pretrained=False)
    given = {f"features.{key}": torch.zeros(value.shape) for key, value in state.items()}
    backbone = backbone.to_empty(device="cpu")
    module._fill(backbone, given, name)
    assert not any(value.any() for value in backbone.state_dict().values())


def test_seeds_stay_as_they_are(squeeze: str) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    module.network.__wrapped__(squeeze)
    assert torch.rand(1) == expected


def test_weights_that_cannot_be_had(tmp_path: Path, squeeze: str, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pair(64)
    other = tmp_path / "other.pth"
    torch.save(nn.Linear(2, 2).state_dict(), other)
    (tmp_path / "text.pth").write_text("text")
    for weights, says in {
        "": "weights=squeeze:FILE",
        "squeezy": "Did you mean 'squeeze'",
        f"squeeze:{other}": "none of its features",
        f"squeeze:{tmp_path / 'none.pth'}": "No such file",
        f"squeeze:{tmp_path / 'text.pth'}": "a state dict of tensors",
        squeeze.replace("squeeze:", "alex:"): "Name the backbone that the file is of",
    }.items():
        with pytest.raises(CheckpointError, match=says):
            lpips_map(a, b, weights)

    def away(*given: Any, **said: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", away)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", away)
    with pytest.raises(HarnessError, match=r"no route to host. Fetch https.* and write weights=alex:FILE"):
        lpips_map(a, b, "alex")


@pytest.mark.parametrize(
    ("change", "metric", "reason"),
    [
        (lambda a: a[:160], "ms_ssim", "too_small"),
        (lambda a: a[:10], "ssim", "too_small"),
        (lambda a: a[:31], "lpips", "too_small"),
        (lambda a: a[..., :1], "lpips", "unsupported"),
        (lambda a: a.astype(np.float64), "mse", "unsupported"),
        (lambda a: a[..., 0], "mse", "unsupported"),
        (lambda a: a * np.float32(np.nan), "mse", "unsupported"),
    ],
)
def test_refused_images(change: Any, metric: str, reason: str) -> None:
    a, b = (change(planes) for planes in pair(200))
    with pytest.raises(ImageError, match=metric) as refused:
        gradient_map(a, b, metric)
    assert refused.value.reason == reason


def test_refused_pairs_and_metrics() -> None:
    a, b = pair()
    with pytest.raises(ImageError, match="two images") as refused:
        measure(a, b[1:], "mse")
    assert refused.value.reason == "size"
    with pytest.raises(SuiteError, match="Did you mean 'ms_ssim'"):
        gradient_map(a, b, "msssim")


class Small(nn.Module):
    """Two convolutions and a linear layer, in place where torch allows it."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3, stride=2)
        self.act, self.unused, self.last = nn.ReLU(inplace=True), nn.Conv2d(3, 3, 1), nn.Linear(5, 3)
        for value in self.parameters():
            value.data.normal_(generator=generator)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.unused(x)
        x = self.act(self.second(torch.tanh(self.first(x))))
        found: torch.Tensor = self.last(x.square().mean((2, 3)))
        return found


def test_a_network_in_torch_takes_the_place_of_a_served_one() -> None:
    a = np.random.default_rng(1).random((12, 14, 3), np.float32)
    b = a.copy()
    b[2:6, 3:9] = 1 - b[2:6, 3:9]
    asked = TorchCam(Small(), "first")
    found = difference(
        a, b, strategy="gradcam model=small.gradcam", postprocess="identity", cams={"small.gradcam": asked}
    )
    before, target = asked(a, None)
    after, _ = asked(b, target)
    assert before.shape == (12, 14)
    np.testing.assert_allclose(found.map, np.abs(before - after))
    assert found.map.any()


@pytest.mark.parametrize("layer", ["first", "second"])
@pytest.mark.parametrize("frozen", [False, True])
def test_cam_is_the_papers(layer: str, frozen: bool) -> None:
    network = Small().requires_grad_(not frozen)
    images = np.random.default_rng(0).random((3, 3, 12, 14), np.float32)
    targets = [2, 0, 1]
    with torch.no_grad():
        found = TorchCam(network, layer).cam(images, targets)
    x = torch.from_numpy(images)
    network.requires_grad_(True)
    values = network.first(x) if layer == "first" else network.second(torch.tanh(network.first(x)))
    above = network.second(torch.tanh(values)) if layer == "first" else values
    scores = network.last(torch.relu(above).square().mean((2, 3)))
    (gradient,) = torch.autograd.grad(scores[torch.arange(3), targets].sum(), values)
    known = np.zeros((3, *values.shape[2:]))
    for image in range(3):
        for channel in range(values.shape[1]):
            known[image] += float(gradient[image, channel].mean()) * values[image, channel].detach().numpy()
    np.testing.assert_allclose(found, known.clip(0), rtol=1e-4, atol=1e-5)
    assert found.dtype == np.float32
    assert found.max() > 0
    assert not network._forward_hooks
    assert not getattr(network, layer)._forward_hooks


def test_cam_refuses() -> None:
    network, images = Small(), torch.zeros(2, 3, 12, 12)
    with pytest.raises(CardError, match="Did you mean 'second'"):
        TorchCam(network, "secnd")
    with pytest.raises(CardError, match="layer last: expected answers"):
        TorchCam(network, "last").cam(images, 0)
    with pytest.raises(CardError, match="or not at all"):
        TorchCam(network, "unused").cam(images, 0)
    for target in (3, -1, [0], [0, 1, 2]):
        with pytest.raises(CardError, match="one of 3 scores"):
            TorchCam(network, "first").cam(images, target)
