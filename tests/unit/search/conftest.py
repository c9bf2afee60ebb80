"""Classifiers that are formulas: small, and everything about them is known exactly."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from harness.backends.base import EndpointOptions, ModelInfo
from harness.card import Card
from harness.images.preprocess import Preprocess
from harness.models import Model
from harness.search.hunts import Pair, Seed
from harness.search.oracle import KL, Oracle

SHAPE = (6, 5, 3)
CLASSES = 4


class Formula:
    """A backend whose logits are quadratic in each value of its input, rounded to multiples of ``coarse``.

    ``tilt`` is how far its linear part is from that of the others.

    A gradient entry also answers with a loss and its gradient, exactly. ``faults`` says what happens on which request:
    an exception is raised; "nan" spoils the batch's first row; "shape" loses a class.
    """

    def __init__(self, card, batch, coarse, tilt, faults):
        self.card, self.coarse, self.faults = card, coarse, dict(faults)
        self.endpoint, self.options = f"formula:{card.name}", EndpointOptions(batch=batch)
        draw = np.random.default_rng(7)
        self.linear = draw.normal(size=(CLASSES, *SHAPE))
        self.square = 0.3 * draw.normal(size=(CLASSES, *SHAPE))
        self.linear += tilt * draw.normal(size=self.linear.shape)
        self.inputs = []

    @property
    def asked(self):
        """Images in each request."""
        return [len(item) for item in self.inputs]

    def info(self):
        return ModelInfo(card=self.card)

    def close(self):
        pass

    def infer(self, inputs):
        values = inputs[self.card.input]
        fault = self.faults.get(len(self.inputs))
        self.inputs.append(values)
        if isinstance(fault, Exception):
            raise fault
        answers = {key: np.stack(rows) for key, rows in self._rows(inputs, values).items()}
        if fault == "nan":
            answers["score"][0] = np.nan
        if fault == "shape":
            answers["score"] = answers["score"][:, 1:]
        return answers

    def _rows(self, inputs, values):
        """One image at a time, so that its answer can't depend on its batch."""
        nchw = self.card.preprocess.layout == "NCHW"
        rows = {"score": []}
        for place, value in enumerate(values):
            image = (value.transpose(1, 2, 0) if nchw else value).astype(np.float64)
            image = image / 255 if value.dtype == np.uint8 else image
            logits = (self.linear * image + self.square * image**2).sum(axis=(1, 2, 3))
            logits = np.rint(logits / self.coarse) * self.coarse if self.coarse else logits
            rows["score"].append(logits.astype(np.float32))
            if self.card.task == "gradient":
                target, mode, temperature = (inputs[key][place] for key in ("target", "mode", "temperature"))
                loss, by_logits = kl(logits, target, temperature) if mode == KL else margin(logits, target)
                gradient = np.tensordot(by_logits, self.linear + 2 * self.square * image, 1)
                gradient = gradient.transpose(2, 0, 1) if nchw else gradient
                rows.setdefault("loss", []).append(np.array([loss], np.float32))
                rows.setdefault("gradient", []).append(gradient.astype(np.float32))
        return rows


def kl(logits, target, temperature):
    """KL(softmax(target / T) || softmax(logits / T)), and its gradient by the logits."""
    other, own = log_softmax(target / temperature), log_softmax(logits / temperature)
    return (np.exp(other) * (other - own)).sum(), (softmax(logits / temperature) - np.exp(other)) / temperature


def margin(logits, target):
    """The label's logit minus the largest other one, and its gradient by the logits."""
    label = target.argmax()
    rival = np.where(np.arange(CLASSES) == label, -np.inf, logits).argmax()
    return logits[label] - logits[rival], np.eye(CLASSES)[label] - np.eye(CLASSES)[rival]


def oracle_of_formula(gradient=False, coarse=0.0, tilt=0.0, batch=8, faults=(), transport="onnx", **preprocess):
    spec = Preprocess(**{"dtype": "float32", "layout": "NCHW", **preprocess})
    task = "gradient" if gradient else "classification"
    names = tuple(f"c{number}" for number in range(CLASSES))
    card = Card(name=f"formula.{task}", task=task, preprocess=spec, classes=names)
    backend = Formula(card, batch, coarse, tilt, faults)
    return Oracle(Model(card.name, card, backend.info(), backend, transport))


def pair_of_formulas():
    black = oracle_of_formula(coarse=0.25, tilt=0.05)
    return Pair(oracle_of_formula(), black, oracle_of_formula(gradient=True))


@pytest.fixture(scope="session")
def make_oracle():
    """Makes an oracle of a formula; its backend is ``oracle.model.backend``."""
    return oracle_of_formula


@pytest.fixture
def pair():
    """An exact model, and one that rounds its logits coarsely and is a little off."""
    return pair_of_formulas()


@pytest.fixture(scope="session")
def seeds():
    """Eight images that both models decide alike, not far from a boundary."""
    pair = pair_of_formulas()
    images = np.random.default_rng(1).integers(0, 256, (4000, *SHAPE), dtype=np.uint8)
    whites, blacks = pair.white.logits(images), pair.black.logits(images)
    first, second = np.sort(whites, axis=1)[:, :-3:-1].T
    fit = (whites.argmax(1) == blacks.argmax(1)) & (first - second > 0.4) & (first - second < 0.8)
    chosen = np.flatnonzero(fit)[:8]
    assert len(chosen) == 8
    return [
        Seed(position, f"{position}.png", images[place], whites[place], blacks[place])
        for position, place in enumerate(chosen)
    ]
