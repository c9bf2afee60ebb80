"""Networks of attributors: what they learn from statistics, and that their graphs answer as they do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from export.attributors import ATTRIBUTORS, Network
from export.attributors.export import attributor_built
from export.attributors.mean_residual import MeanResidual
from export.attributors.networks import Standardised, map_network, pixel_network, vector_network
from export.onnx import write_onnx
from export.parity import check_parity
from export.triton import render_config
from harness.errors import CheckpointError
from harness.fingerprints.representations import parse_representation
from harness.images.preprocess import Preprocess
from tests.unit.export.conftest import make_filter

SIDE, SOURCES = 16, 3
KINDS = {
    "manifpt_frequency": ((3, SIDE, SIDE), map_network),
    "durall20": ((12,), vector_network),
    "wang20": ((SIDE, SIDE, 3), pixel_network),
    "marra19": ((SIDE, SIDE, 3), lambda scale, shape, count: MeanResidual(make_filter().folded(), shape, count)),
}


def inputs(shape: tuple[int, ...], count: int = 24, seed: int = 0) -> torch.Tensor:
    random = np.random.default_rng(seed)
    if shape[-1] == 3:
        return torch.from_numpy(random.integers(0, 256, (count, *shape), np.uint8))
    return torch.from_numpy(random.normal(3, 2, (count, *shape)).astype(np.float32))


def settled(network: Network, shape: tuple[int, ...]) -> Network:
    values = inputs(shape)
    targets = torch.arange(len(values)) % SOURCES
    network.eval().settle([(values[:10], targets[:10]), (values[10:], targets[10:])])
    return network


@pytest.mark.parametrize("name", KINDS)
def test_the_graph_answers_as_the_network_and_describes_itself(name: str, tmp_path: Path) -> None:
    shape, build = KINDS[name]
    torch.manual_seed(1)
    network = settled(build("miniature", shape, SOURCES), shape)
    method = replace(ATTRIBUTORS[name], build=build)
    represent = method.represent["miniature"] and parse_representation(method.represent["miniature"]).id
    built = attributor_built(
        method,
        "miniature",
        network.state_dict(),
        name=f"{name}.made_up",
        summary="Made up",
        classes=("gan", "flow", "nature"),
        represent=represent,
        reference="",
        preprocess=Preprocess(crop=SIDE),
        probes=inputs(shape, 6, seed=1).numpy(),
        training={},
    )
    assert built.inputs is not None
    model = tmp_path / "model.onnx"
    write_onnx(built.module, torch.from_numpy(built.inputs[:2]), model, built.card)
    parity = check_parity(built.module, model, built.card, built.inputs, tolerance=built.tolerance)
    assert parity.passed
    (described,) = render_config(model, built.card).input
    assert tuple(described.dims) == shape
    assert built.card.outputs == SOURCES
    assert built.card.represent == represent


def test_weights_of_another_network_are_refused() -> None:
    network = vector_network("miniature", (12,), SOURCES)
    with pytest.raises(CheckpointError, match=r"weights of durall20.made_up: expected miniature durall20's"):
        attributor_built(
            ATTRIBUTORS["durall20"],
            "miniature",
            network.state_dict(),
            name="durall20.made_up",
            summary="",
            classes=("a", "b"),
            represent="spectrum_1d",
            reference="",
            preprocess=Preprocess(),
            probes=np.zeros((2, 12), np.float32),
            training={},
        )


@pytest.mark.parametrize(("shape", "axes"), [((12,), (0,)), ((3, 4, 5), (0, 2, 3))], ids=["vectors", "maps"])
def test_inputs_are_standardised_by_the_training_set(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    values = inputs(shape)
    values[:, 1] = 7.0
    network = Standardised(nn.Flatten(), shape)
    network.settle([(values[:5], torch.zeros(5)), (values[5:], torch.zeros(len(values) - 5))])
    known = values.numpy().astype(np.float64)
    std = known.std(axis=axes, keepdims=True)
    expected = (known - known.mean(axis=axes, keepdims=True)) / np.where(std > 1e-6, std, 1)
    with torch.no_grad():
        np.testing.assert_allclose(network(values), expected.reshape(len(values), -1), atol=1e-5)


def test_mean_residuals_are_numpys_correlations() -> None:
    filter_ = make_filter().folded()
    network = settled(MeanResidual(filter_, (SIDE, SIDE, 3), SOURCES), (SIDE, SIDE, 3))
    training, tested = (inputs((SIDE, SIDE, 3), seed=seed) for seed in (0, 4))
    with torch.no_grad():
        known, asked = (
            filter_(item.permute(0, 3, 1, 2).float() / 255).flatten(1).double().numpy() for item in (training, tested)
        )
        scores = network(tested).numpy()
    sources = np.arange(len(known)) % SOURCES
    means = np.stack([known[sources == source].mean(axis=0) for source in range(SOURCES)])
    expected = np.corrcoef(asked, means)[: len(asked), len(asked) :]
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    assert np.abs(expected).max() > 0.1


def test_an_image_without_residual_correlates_with_nothing() -> None:
    network = settled(MeanResidual(nn.Identity(), (SIDE, SIDE, 3), SOURCES), (SIDE, SIDE, 3))
    with torch.no_grad():
        assert not network(torch.full((2, SIDE, SIDE, 3), 90, dtype=torch.uint8)).abs().max() > 1e-3


@pytest.mark.parametrize("scale", ["full", "miniature"])
def test_every_method_names_a_representation_that_there_is(scale: str) -> None:
    for name, method in ATTRIBUTORS.items():
        assert method.name == name
        represent = method.represent[scale]  # type: ignore[index]
        if represent:
            assert parse_representation(represent).id.startswith(represent)
        assert method.preprocess[scale].dtype == "uint8"  # type: ignore[index]


def test_the_published_size_is_a_resnet_50() -> None:
    network = map_network("full", (3, 256, 256), 1000)
    assert sum(item.numel() for item in network.parameters()) == 25_557_032
