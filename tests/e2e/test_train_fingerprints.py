"""A bank of fingerprints as a user trains it: a folder of real and fake pictures, split by a hash, then asked."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from harness.events import Silent
from harness.fingerprints.bank import read_bank
from harness.repository import find_entries
from harness.run import Asked, run
from tests.e2e.commands import table

training = pytest.importorskip("export.training.run", reason="the extra `export` is not installed")

SIDE = 32
DATA = "{d: {layout: real_fake, root: pictures, splits: {train: 0.6, val: 0.2, test: 0.2}}}"
FILE = f"""\
name: small
repository: repository
licence: Apache-2.0
data: {DATA}
fingerprints:
  - {{data: d, tag: "few_n{{samples}}", filter: bilateral, samples: 16, size: {SIDE}, base: 4, steps: 25, batch: 16}}
check_served: false
"""
SUITE = f"""\
name: asked
repository: repository
data: {DATA}
models: ["dif.few_*"]
tasks: [{{kind: detection, name: s, data: d, split: val, learning_curve: images}}]
resamples: 100
"""


def write_pictures(root: Path) -> None:
    """Noise, and noise with a checkerboard in it."""
    random, board = np.random.default_rng(0), np.indices((SIDE, SIDE)).sum(axis=0) % 2 * 2 - 1
    for kind, strength in (("0_real", 0), ("1_fake", 20)):
        (root / "board" / kind).mkdir(parents=True)
        for number in range(40):
            pixels = random.normal(128, 25, (SIDE, SIDE, 3)) + strength * board[..., None]
            PILImage.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / "board" / kind / f"{number}.png")


def test_a_bank_is_trained_entered_and_asked(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures")
    (tmp_path / "small.yaml").write_text(FILE)
    (tmp_path / "asked.yaml").write_text(SUITE)
    asked = training.Asked(tmp_path / "small.yaml", (), tmp_path / "out", ("dif.*",))
    (trained,), failed = training.train(asked, Silent())
    assert not failed
    assert (trained.name, trained.threshold) == ("dif.few_n16", 0.0)
    (entry,) = find_entries(tmp_path / "repository", "*")
    assert entry.card.heads[0].trained_on == ("board",)
    assert entry.card.training["images"] == 32
    assert entry.card.parity is not None
    assert entry.card.parity.passed
    assert read_bank(tmp_path / "repository" / entry.name, entry.card).names == ("board",)
    assert not list((tmp_path / "out/training").glob("residuals-*"))
    found = run(Asked(tmp_path / "asked.yaml", out=tmp_path / "out"), Silent())
    (figures,) = table(found.folder, "s_figures").to_dict("records")
    assert figures["domain"] == "in-domain"
    assert figures["reals"] + figures["fakes"] == entry.card.training["validation_images"]
    assert figures["auroc"] == pytest.approx(entry.card.training["validation_auroc"], abs=0.02)
