"""Detectors: their graphs against torch, their own arithmetic against references, their sizes against the papers."""

import os
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.fft
import timm
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from export.detectors import ARCHITECTURES, Scale
from export.detectors.backbones import Trunk, fetch, full_precision, load_backbone
from export.detectors.export import LOGIT_TOLERANCE, detector_built
from export.detectors.f3net import (
    FAINTEST,
    CrossAttention,
    FrequencyBands,
    LocalStatistics,
    bands,
    dct_matrix,
    diagonals,
)
from export.detectors.gramnet import gram
from export.detectors.npr import neighbour_differences
from export.detectors.spec import NARROWEST, LogSpectrum, percentile
from export.detectors.xception import Widths, Xception, widen_input
from export.onnx import write_onnx
from export.parity import check_parity, probe_inputs
from harness.card import Card, Head
from harness.errors import CheckpointError

NAMES = list(ARCHITECTURES)
SPREAD = 2.0
"""Standard deviation of a settled network's logits, about a trained one's."""


def photographs(count: int, side: int) -> Tensor:
    """Images in [0, 1] with the spectrum of photographs, (count, 3, side, side)."""
    random = np.random.default_rng(side)
    rows, columns = np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij")
    falling = 1 / np.maximum(np.hypot(rows, columns), 1 / side)
    noise = random.normal(size=(count, 3, *falling.shape)) + 1j * random.normal(size=(count, 3, *falling.shape))
    images = np.fft.irfft2(noise * falling, (side, side))
    return torch.from_numpy(np.clip(0.5 + 0.2 * images / images.std(), 0, 1)).float()


def settled(network: nn.Module, images: Tensor) -> nn.Module:
    """Give a network the batch statistics and the spread of logits of one that was trained, and no zero parameter."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            module.reset_running_stats()
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.1, generator=generator)
        network.train()(images)
        spread = network.eval()(images).std()
        last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
        last.weight.mul_(SPREAD / spread)
        last.bias.mul_(SPREAD / spread)
    return network


def prove(name: str, scale: Scale, folder: Path, which: slice) -> Path:
    """Settle, export and compare one architecture on some of the first 12 probe images."""
    architecture = ARCHITECTURES[name]
    torch.manual_seed(0)
    inputs = probe_inputs(Card(name=f"{name}.probe", preprocess=architecture.preprocess[scale]), 12)[which]
    images = torch.from_numpy(inputs).permute(0, 3, 1, 2).float() / 255
    network = settled(architecture.build(scale, False), images)
    built = detector_built(
        architecture,
        scale,
        network.state_dict(),
        tag="seeded",
        summary="From a seed",
        trained_on=("gan",),
        threshold=0.25,
        training={"seed": 0},
    )
    model = folder / f"{name}.onnx"
    write_onnx(built.module, torch.from_numpy(inputs[:2]), model, built.card)
    parity = check_parity(built.module, model, built.card, inputs, tolerance=built.tolerance)
    assert parity.passed
    with torch.no_grad():
        logits = built.module(torch.from_numpy(inputs))
    assert logits.shape == (len(inputs), 1) and logits.dtype == torch.float32
    assert len(np.unique(logits)) == len(inputs), "images share a logit"
    return model


@pytest.mark.parametrize("name", NAMES)
def test_a_miniature_graph_answers_as_torch_and_is_small(name: str, tmp_path: Path) -> None:
    model = prove(name, "miniature", tmp_path, slice(12))
    assert model.stat().st_size < (600_000 if name in ("f3net", "swin_t") else 350_000)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "spec",
        pytest.param(
            "f3net",
            marks=pytest.mark.skipif(not os.environ.get("DISCERN_FULL"), reason="takes a minute: set DISCERN_FULL=1"),
        ),
    ],
)
def test_a_full_graph_answers_as_torch(name: str, tmp_path: Path) -> None:
    prove(name, "full", tmp_path, slice(1, 8, 6))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    images = photographs(4, ARCHITECTURES[name].preprocess["miniature"].crop or 128)
    network = settled(ARCHITECTURES[name].build("miniature", True), images).train()
    loss = nn.functional.binary_cross_entropy_with_logits(network(images), torch.tensor([0.0, 1.0, 0.0, 1.0]))
    loss.backward()
    silent = [key for key, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert not silent
    assert all(torch.isfinite(value.grad).all() for value in network.parameters() if value.grad is not None)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("resnet50", 23.51),
        ("cnnspot", 23.51),
        ("deit_s", 21.67),
        ("swin_t", 27.52),
        ("spec", 21.29),
        ("gramnet", 11.73),
        ("npr", 1.44),
        ("f3net", 48.31),
    ],
)
def test_full_networks_have_the_published_size(name: str, millions: float) -> None:
    network = ARCHITECTURES[name].build("full", False)
    assert sum(item.numel() for item in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.006)


@pytest.mark.parametrize("name", NAMES)
def test_architectures_are_named_and_read_plain_pixels(name: str) -> None:
    architecture = ARCHITECTURES[name]
    assert architecture.name == name and architecture.summary and architecture.source
    for scale in ("full", "miniature"):
        spec = architecture.preprocess[scale]
        assert spec.dtype == "uint8" and spec.layout == "NHWC" and spec.crop
        assert architecture.recipes[scale].epochs > 0
    assert architecture.preprocess["miniature"].crop == (64 if name in ("deit_s", "swin_t", "f3net") else 128)


@pytest.mark.parametrize(
    ("name", "epochs", "batch", "optimiser", "lr"),
    [
        ("resnet50", 200, 128, "sgd", 0.05),
        ("deit_s", 300, 512, "adamw", 5e-4),
        ("swin_t", 300, 512, "adamw", 5e-4),
        ("cnnspot", 10_000, 64, "adam", 1e-4),
        ("spec", 10, 64, "sgd", 0.01),
        ("gramnet", 10, 16, "adam", 1e-5),
    ],
)
def test_full_recipes_are_the_published_ones(name: str, epochs: int, batch: int, optimiser: str, lr: float) -> None:
    recipe = ARCHITECTURES[name].recipes["full"]
    assert (recipe.epochs, recipe.batch, recipe.optimiser, recipe.lr) == (epochs, batch, optimiser, lr)


def test_a_card_says_what_the_weights_are() -> None:
    architecture = ARCHITECTURES["npr"]
    network = architecture.build("miniature", False)
    built = detector_built(
        architecture,
        "miniature",
        network.state_dict(),
        tag="mini_gan",
        summary="NPR",
        trained_on=("gan",),
        threshold=0.5,
        training={"epochs": 3},
    )
    card = built.card
    assert (card.name, card.score, card.fake, card.input, card.output) == (
        "npr.mini_gan",
        "logit",
        "high",
        "image",
        "score",
    )
    assert card.heads == (Head(name="fake", trained_on=("gan",), threshold=0.5),)
    assert card.training == {"epochs": 3} and card.preprocess == architecture.preprocess["miniature"]
    assert built.tolerance == LOGIT_TOLERANCE and not built.module.training


@pytest.mark.parametrize("spoil", ["missing", "foreign", "shape"])
def test_weights_of_another_network_are_refused(spoil: str) -> None:
    state = dict(ARCHITECTURES["npr"].build("miniature", False).state_dict())
    if spoil == "missing":
        del state["body.fc.weight"]
    elif spoil == "foreign":
        state["body.other"] = torch.zeros(1)
    else:
        state["body.fc.weight"] = torch.zeros(1, 7)
    with pytest.raises(CheckpointError, match=r"npr\.x"):
        detector_built(
            ARCHITECTURES["npr"],
            "miniature",
            state,
            tag="x",
            summary="",
            trained_on=(),
            threshold=0.0,
            training={},
        )


def test_the_trunk_is_torchvisions() -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(num_classes=1).eval()
    ours = Trunk(torchvision.models.resnet.BasicBlock, (2, 2, 2, 2)).eval()
    load_backbone(ours, {key: value for key, value in theirs.state_dict().items() if not key.startswith("fc.")}, "made")
    image = photographs(2, 64)
    with torch.no_grad():
        torch.testing.assert_close(theirs.fc(ours.maps(image)[-1].mean(dim=(2, 3))), theirs(image))


def test_the_xceptions_are_timms() -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("legacy_xception", num_classes=3).eval()
    state = theirs.state_dict()
    image = photographs(1, 128)
    with torch.no_grad():
        expected = theirs.global_pool(theirs.forward_features(image))
        for channels in (3, 12):
            ours = Xception(channels, 2, Widths()).eval()
            load_backbone(ours, widen_input(state, channels), "made")
            found = ours.pooled(ours.late(ours.early(image.repeat(1, channels // 3, 1, 1))))
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_weights_that_are_not_the_backbones_are_refused() -> None:
    trunk = Trunk(torchvision.models.resnet.BasicBlock, (1, 1), width=4)
    state = dict(trunk.state_dict())
    for spoiled in ({}, {**state, "layer9.weight": torch.zeros(1)}, {**state, "conv1.weight": torch.zeros(2)}):
        with pytest.raises(CheckpointError, match="made up"):
            load_backbone(trunk, spoiled, "made up")


@pytest.mark.parametrize("name", ["cnnspot", "spec", "f3net"])
def test_imagenet_weights_that_cannot_be_fetched_say_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    with pytest.raises(CheckpointError, match=r"no route.*Fetch the file"):
        ARCHITECTURES[name].build("full", True)


def test_fetched_weights_are_read_from_a_file_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    torch.save({"a": torch.ones(2)}, tmp_path / "checkpoints" / "weights.pth")
    assert fetch("https://nowhere.invalid/weights.pth")["a"].tolist() == [1, 1]
    with pytest.raises(CheckpointError, match="Fetch the file"):
        fetch("https://nowhere.invalid/others-00000000.pth")


def reference_spectrum(image: np.ndarray) -> np.ndarray:
    """One channel, as the published code has it but for the least span."""
    found = np.log(np.abs(np.fft.fft2(image)) + 1e-3)
    low, high = np.percentile(found, 5), np.percentile(found, 95)
    return np.clip((found - low) / max(high - low, NARROWEST) * 2 - 1, -1, 1)


@pytest.mark.parametrize("side", [8, 14, 128])
def test_spectra_are_numpys(side: int) -> None:
    images = photographs(2, side)
    spectrum = LogSpectrum(side)
    expected = np.abs(np.fft.fft2(images.double().numpy()))
    np.testing.assert_allclose(spectrum.magnitudes(images).numpy(), expected, atol=1e-9)
    expected = np.array([[reference_spectrum(channel) for channel in image] for image in images.double().numpy()])
    np.testing.assert_allclose(spectrum(images).numpy(), expected, atol=1e-5)


def test_an_empty_spectrum_is_not_stretched() -> None:
    found = LogSpectrum(32)(torch.full((1, 3, 32, 32), 0.5))
    assert torch.isfinite(found).all()
    assert (found.flatten(2)[..., 1:] == -1).all() and (found[..., 0, 0] == 1).all()


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**16),
    height=st.integers(2, 12),
    width=st.integers(2, 12),
    percent=st.sampled_from([1, 5, 30, 50, 77.7, 95, 99]),
)
def test_percentiles_are_numpys(seed: int, height: int, width: int, percent: float) -> None:
    maps = np.random.default_rng(seed).normal(size=(2, 3, height, width)).round(1)
    found = percentile(torch.from_numpy(maps), percent)
    np.testing.assert_allclose(found[..., 0], np.percentile(maps, percent, axis=(2, 3)), atol=1e-12)


@pytest.mark.parametrize("side", [10, 31, 128])
def test_the_cosine_transform_is_scipys(side: int) -> None:
    image, matrix = np.random.default_rng(0).random((side, side)), dct_matrix(side).numpy()
    np.testing.assert_allclose(matrix @ image @ matrix.T, scipy.fft.dctn(image, norm="ortho"), atol=1e-12)


def test_bands_without_learned_masks_are_the_images_parts() -> None:
    side, images = 32, photographs(2, 32) * 2 - 1
    decomposed = FrequencyBands(side)
    with torch.no_grad():
        decomposed.learned.zero_()
        low, middle, high, everything = decomposed(images).reshape(2, 4, 3, side, side).unbind(1)
    mean = images.mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(everything + mean, images, atol=1e-5, rtol=0)
    spectrum = scipy.fft.dctn(images.numpy(), axes=(2, 3), norm="ortho")
    diagonal = np.add.outer(np.arange(side), np.arange(side))
    for band, first, last in ((low, 0, 2), (middle, 2, 4), (high, 4, 32)):
        kept = np.where((diagonal > first) & (diagonal <= last), spectrum, 0)
        expected = scipy.fft.idctn(kept, axes=(2, 3), norm="ortho")
        np.testing.assert_allclose(band.numpy(), expected, atol=1e-5)


def test_learned_masks_weigh_coefficients() -> None:
    side, images = 16, photographs(1, 16) * 2 - 1
    decomposed = FrequencyBands(side)
    with torch.no_grad():
        decomposed.learned.fill_(-100)
        decomposed.learned[3, 1, 2] = 100
        everything = decomposed(images)[:, 9:]
    spectrum = scipy.fft.dctn(images.numpy(), axes=(2, 3), norm="ortho")
    weights = np.where(np.add.outer(np.arange(side), np.arange(side)) > 0, 0.0, -1.0)
    weights[1, 2] = 2
    expected = scipy.fft.idctn(spectrum * weights, axes=(2, 3), norm="ortho")
    np.testing.assert_allclose(everything.numpy(), expected, atol=1e-5)


def test_local_statistics_are_those_of_a_plain_loop() -> None:
    side, images = 24, photographs(2, 24) * 2 - 1
    torch.manual_seed(0)
    local = LocalStatistics()
    found = local(images).detach().numpy()
    grey = (0.299 * images[:, 0] + 0.587 * images[:, 1] + 0.114 * images[:, 2]).double().numpy()
    padded = np.pad((grey + 1) * 122.5, ((0, 0), (4, 4), (4, 4)))
    learned = 2 / (1 + np.exp(-local.learned.detach().double().numpy())) - 1
    diagonal = np.add.outer(np.arange(10), np.arange(10))
    places = (side + 8 - 10) // 2 + 1
    expected = np.empty((2, 6, places, places))
    for image, row, column in np.ndindex(2, places, places):
        window = padded[image, 2 * row : 2 * row + 10, 2 * column : 2 * column + 10]
        logs = np.log10(np.abs(scipy.fft.dctn(window, norm="ortho")) + FAINTEST)
        for band in range(6):
            inside = (diagonal > band * 20 / 6) & (diagonal <= (band + 1) * 20 / 6)
            expected[image, band, row, column] = (logs * (inside + learned[band])).sum() / inside.sum()
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_bands_of_windows_share_all_diagonals_but_the_mean() -> None:
    masks = bands(diagonals(10), [(band * 20 / 6, (band + 1) * 20 / 6) for band in range(6)])
    assert masks.sum(dim=0).flatten().tolist() == [0.0] + [1.0] * 99


def test_streams_start_apart_and_then_take_from_each_other() -> None:
    torch.manual_seed(0)
    mix = CrossAttention(4).eval()
    a, b = torch.rand(2, 4, 6, 6), torch.rand(2, 4, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(mix(a, b)[0] - a, torch.zeros_like(a) + mix.updates[0](torch.zeros_like(a)))
        mix.gains.fill_(1.0)
        energy = np.einsum("nchw,ncgw->nchg", mix.queries[0](a), mix.keys[0](a))
        energy += np.einsum("nchw,ncgw->nchg", mix.queries[1](b), mix.keys[1](b))
        attention = np.exp(energy) / np.exp(energy).sum(axis=3, keepdims=True)
        gain = 2 / (1 + np.exp(-1)) - 1
        expected = b + mix.updates[1](a * torch.from_numpy(attention) * gain)
        torch.testing.assert_close(mix(a, b)[1], expected.float())


def test_gram_matrices_are_einsums() -> None:
    maps = torch.randn(2, 5, 6, 7, dtype=torch.float64).float()
    expected = np.einsum("nihw,njhw->nij", maps, maps) / (5 * 6 * 7)
    np.testing.assert_allclose(gram(maps)[:, 0], expected, rtol=1e-4, atol=1e-6)


def test_neighbour_differences_by_hand() -> None:
    image = torch.tensor([[1, 2, 5, 5], [4, 8, 9, 5], [0, 0, 7, 1], [3, 0, 7, 2]]).float()[None, None]
    expected = torch.tensor([[0, 1, 0, 0], [3, 7, 4, 0], [0, 0, 0, -6], [3, 0, 0, -5]]).float()[None, None]
    assert torch.equal(neighbour_differences(image), expected)
    half = torch.nn.functional.interpolate(image, scale_factor=0.5, mode="nearest")
    again = torch.nn.functional.interpolate(half, scale_factor=2.0, mode="nearest")
    assert torch.equal(neighbour_differences(image), image - again)


@pytest.mark.parametrize("name", ["spec", "f3net", "gramnet"])
def test_mixed_precision_leaves_the_methods_own_arithmetic_alone(name: str) -> None:
    torch.manual_seed(0)
    images = photographs(2, ARCHITECTURES[name].preprocess["miniature"].crop or 128)
    network = ARCHITECTURES[name].build("miniature", False).eval()
    own = {"spec": "spectrum", "f3net": "statistics", "gramnet": "body.textures.0.texture"}[name]
    seen: list[Tensor] = []
    part = network.get_submodule(own)
    part.register_forward_hook(lambda module, given, answer: seen.append(given[0] if name == "gramnet" else answer))
    with torch.no_grad():
        network(images)
        with torch.autocast("cpu", torch.bfloat16):
            network(images)
    assert seen[1].dtype == torch.float32
    if name != "gramnet":
        torch.testing.assert_close(seen[0], seen[1])


def test_full_precision_is_nothing_without_autocast() -> None:
    cpu = torch.device("cpu")
    with full_precision(cpu):
        assert not torch.is_autocast_enabled("cpu")
    with torch.autocast("cpu", torch.bfloat16), full_precision(cpu):
        assert not torch.is_autocast_enabled("cpu")
