from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from export.generators.architectures import CHECKER, GENERATORS, Flow
from export.generators.dyadic import WEIGHT_MAX, DyadicConv, activate, check_exact, snap
from export.generators.graph import write_generator
from export.training.generators import Patches, train
from harness.data.miniature import GENERATORS as SHIPPED
from harness.errors import ParityError

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
NOISE = np.random.default_rng(1).integers(-40, 40, (2, 32, 32, 3), dtype=np.int8)


def test_the_corpus_names_the_generators_that_are_built() -> None:
    assert set(SHIPPED) == set(GENERATORS)


@pytest.mark.parametrize("name", GENERATORS)
def test_a_graph_is_its_network_to_the_bit(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator = GENERATORS[name]().eval()
    check_exact(generator)
    noise = NOISE if generator.takes_noise else None
    with torch.no_grad():
        wanted = generator(torch.from_numpy(IMAGES), None if noise is None else torch.from_numpy(noise)).numpy()
    write_generator(generator, tmp_path / "g.onnx")
    session = ort.InferenceSession(tmp_path / "g.onnx", providers=["CPUExecutionProvider"])
    inputs = {"image": IMAGES} | ({} if noise is None else {"noise": noise})
    np.testing.assert_array_equal(session.run(None, inputs)[0], wanted)


def test_layers_stay_on_their_grid() -> None:
    torch.manual_seed(0)
    layer = DyadicConv(8, 4)
    units = layer(activate(torch.rand(1, 8, 9, 9) * 5)) / layer.unit
    assert torch.equal(units, torch.round(units))
    assert torch.equal(snap(torch.tensor([0.3, 0.4]), 0.25), torch.tensor([0.25, 0.5]))


def test_sums_that_could_be_rounded_are_refused() -> None:
    layer = DyadicConv(2048, 1, kernel=5)
    torch.nn.init.constant_(layer.weight, WEIGHT_MAX)
    with pytest.raises(ParityError, match="units"):
        check_exact(layer)


def test_the_flow_undoes_itself_exactly() -> None:
    torch.manual_seed(0)
    flow = Flow().eval()
    x = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float() / 256
    with torch.no_grad():
        assert torch.equal(flow.invert(*flow.latent(x)), x)
    assert sorted(CHECKER) == list(range(12))


@pytest.mark.slow
def test_training_brings_the_loss_down() -> None:
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    photograph = np.repeat(np.repeat(random.integers(0, 256, (12, 12, 3), dtype=np.uint8), 8, 0), 8, 1)
    seen: list[float] = []
    generator = GENERATORS["shuffle"]()
    train("shuffle", generator, Patches([photograph], 0, side=16), 110, lambda name, step, loss: seen.append(loss))
    assert seen[-1] < 0.8 * seen[0]
