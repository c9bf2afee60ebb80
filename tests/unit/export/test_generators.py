import copy
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from export.generators.architectures import BUILDERS, CHECKER, Diffusion, Flow, Generator, fold, make_generator
from export.generators.dyadic import WEIGHT_MAX, DyadicConv, activate, activate_leaky, check_exact, snap
from export.generators.graph import read_generator, write_generator
from export.training.generators import CHILDREN, Lesson, Patches, pixels, train
from harness.data.miniature.corpus import graph
from harness.data.miniature.designs import DESIGNS, PARENTS
from harness.data.miniature.photographs import PHOTOGRAPHS
from harness.errors import ParityError

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
NOISE = np.random.default_rng(1).integers(-40, 40, (2, 32, 32, 3), dtype=np.int8)


def made_by(generator: Generator) -> np.ndarray:
    noise = torch.from_numpy(NOISE) if generator.takes_noise else None
    with torch.no_grad():
        return np.asarray(generator.eval()(torch.from_numpy(IMAGES), noise))


def answers(graph: bytes) -> np.ndarray:
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    inputs = {"image": IMAGES, "noise": NOISE}
    made: np.ndarray = session.run(None, {item.name: inputs[item.name] for item in session.get_inputs()})[0]
    return made


def test_every_design_is_built_as_it_says() -> None:
    assert set(BUILDERS) == set(DESIGNS) - set(PARENTS)
    for name, design in DESIGNS.items():
        generator = make_generator(name)
        assert generator.design == design
        assert isinstance(generator, Diffusion) == (design.family == "diffusion")
        assert isinstance(generator, Flow) == (design.family == "flow")
        normalised = [hasattr(layer, "parametrizations") for layer in generator.modules() if hasattr(layer, "grid")]
        assert set(normalised) == {design.norm != "none"}
    assert all(DESIGNS[child] == DESIGNS[parent] for child, parent in PARENTS.items())


@pytest.mark.parametrize("name", BUILDERS)
def test_a_graph_is_its_network_to_the_bit(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator = make_generator(name)
    generator.eval()
    wanted = made_by(generator)
    fold(generator)
    check_exact(generator)
    np.testing.assert_array_equal(made_by(generator), wanted)
    write_generator(generator, tmp_path / "g.onnx")
    np.testing.assert_array_equal(answers((tmp_path / "g.onnx").read_bytes()), wanted)


@pytest.mark.parametrize("parent", sorted(set(PARENTS.values())))
def test_a_parent_is_read_back_to_the_bit(parent: str, tmp_path: Path) -> None:
    generator = make_generator(parent)
    (tmp_path / "p.onnx").write_bytes(graph(parent))
    read_generator(generator, tmp_path / "p.onnx")
    np.testing.assert_array_equal(made_by(generator), answers(graph(parent)))


@pytest.mark.parametrize("child", PARENTS)
def test_a_child_is_not_its_parent(child: str) -> None:
    assert (answers(graph(child)) != answers(graph(PARENTS[child]))).mean() > 0.3


def test_children_learn_from_photographs_of_no_split() -> None:
    assert CHILDREN.keys() == PARENTS.keys()
    kept = {item.name for item in PHOTOGRAPHS if item.tier == "generator"}
    assert all(set(names) < kept for names in CHILDREN.values())
    assert all(CHILDREN[f"{parent}_child1"] != CHILDREN[f"{parent}_child2"] for parent in PARENTS.values())


def test_a_spectral_norm_is_one() -> None:
    torch.manual_seed(0)
    generator = make_generator("gan_nearest")
    with torch.no_grad():
        for _ in range(20):
            generator.remake(pixels(torch.from_numpy(IMAGES)))
    fold(generator)
    for layer in generator.modules():
        if isinstance(layer, DyadicConv):
            assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("name", ["gan_nearest", "skip"])
def test_normalisation_is_trained_and_can_be_folded_in(name: str) -> None:
    torch.manual_seed(0)
    generator = make_generator(name)
    before = copy.deepcopy(generator)
    train(name, generator, Patches([np.tile(IMAGES[0], (2, 2, 1))], 0, side=32), Lesson(4, 8, 32, 4e-3))
    trained = made_by(generator)
    assert (trained != made_by(before)).any()
    fold(generator)
    np.testing.assert_array_equal(made_by(generator), trained)


def test_the_leaky_activation_stays_on_its_grid_and_within_its_peak() -> None:
    values = torch.linspace(-9, 9, 1801)
    made = activate_leaky(values)
    assert torch.equal(made * 128, torch.round(made * 128))
    assert (float(made.min()), float(made.max())) == (-1.0, 4 - 1 / 128)
    torch.testing.assert_close(
        made[values.abs() < 1], torch.where(values < 0, values / 4, values)[values.abs() < 1], rtol=0, atol=1 / 256
    )


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


@pytest.mark.parametrize("name", ["flow", "flow_leaky"])
def test_a_flow_undoes_itself_exactly(name: str) -> None:
    torch.manual_seed(0)
    flow = make_generator(name).eval()
    assert isinstance(flow, Flow)
    x = pixels(torch.from_numpy(IMAGES))
    with torch.no_grad():
        assert torch.equal(flow.invert(*flow.latent(x)), x)
    assert sorted(CHECKER) == list(range(12))


@pytest.mark.slow
def test_training_brings_the_loss_down() -> None:
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    photograph = np.repeat(np.repeat(random.integers(0, 256, (12, 12, 3), dtype=np.uint8), 8, 0), 8, 1)
    seen: list[float] = []
    generator = make_generator("shuffle")
    train(
        "shuffle",
        generator,
        Patches([photograph], 0, side=16),
        Lesson(110, 16, 16, 4e-3),
        lambda name, step, loss: seen.append(loss),
    )
    assert seen[-1] < 0.8 * seen[0]
