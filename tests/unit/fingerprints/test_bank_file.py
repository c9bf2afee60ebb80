import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.card import Card
from harness.errors import CheckpointError
from harness.fingerprints.bank import BANK_FILE, BANK_KEY, Bank, read_bank
from harness.repository import load_entry


@pytest.fixture
def bank() -> Bank:
    random = np.random.default_rng(0)
    centres = random.normal(0, 0.01, (2, 2)).astype(np.float32)
    return Bank(("gan", "flow"), random.normal(size=(2, 3, 8, 8)).astype(np.float32), *centres, reach=3)


def card(bank: Bank) -> Card:
    return Card(name="dif.made_up", training={BANK_KEY: hashlib.sha256(bank.to_bytes()).hexdigest()})


def equal(one: Bank, other: Bank) -> bool:
    alike = [
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("fingerprints", "mu_real", "mu_fake")
    ]
    return one.names == other.names and one.reach == other.reach and all(alike)


def test_a_bank_comes_back_from_its_file(bank: Bank, tmp_path: Path) -> None:
    bank.save(tmp_path / BANK_FILE)
    assert equal(Bank.load(tmp_path / BANK_FILE), bank)
    assert equal(read_bank(tmp_path, card(bank)), bank)


def test_the_same_bank_gives_the_same_bytes(bank: Bank) -> None:
    assert bank.to_bytes() == replace(bank, fingerprints=bank.fingerprints.copy()).to_bytes()
    assert bank.to_bytes() != replace(bank, reach=2).to_bytes()


def test_a_file_without_a_reach_searches_nothing(bank: Bank, tmp_path: Path) -> None:
    arrays = {"fingerprints": bank.fingerprints, "mu_real": bank.mu_real, "mu_fake": bank.mu_fake}
    np.savez_compressed(tmp_path / "old.npz", names=np.array(bank.names), **arrays)
    assert equal(Bank.load(tmp_path / "old.npz"), replace(bank, reach=0))


def test_another_bank_than_the_cards_is_refused(bank: Bank, tmp_path: Path) -> None:
    content = bytearray(bank.to_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / BANK_FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"fingerprints\.npz: expected SHA-256"):
        read_bank(tmp_path, card(bank))


def test_a_missing_file_and_a_model_without_fingerprints_are_told_apart(bank: Bank, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"No such file.*harness export dif\.made_up"):
        read_bank(tmp_path, card(bank))
    with pytest.raises(CheckpointError, match="a card without bank_sha256"):
        read_bank(tmp_path, card(bank).model_copy(update={"training": {}}))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive at all"])
def test_what_is_no_bank_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bank.npz").write_bytes(content)
    with pytest.raises(CheckpointError, match="a bank of fingerprints"):
        Bank.load(tmp_path / "bank.npz")


def test_a_pickle_in_it_is_not_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "bank.npz", names=np.array([object()], dtype=object))
    with pytest.raises(CheckpointError, match="allow_pickle=False"):
        Bank.load(tmp_path / "bank.npz")


@pytest.mark.parametrize("reach", [-1, 4])
def test_a_reach_is_less_than_half_a_side(bank: Bank, reach: int) -> None:
    with pytest.raises(CheckpointError, match="0 to 3 pixels"):
        replace(bank, reach=reach)


@pytest.mark.parametrize(
    ("name", "reach"), [("dif.miniature", 0), ("dif.miniature_bilateral", 0), ("dif.miniature_bilateral_aligned", 8)]
)
def test_every_shipped_bank_shows_its_fingerprints(repository: Path, name: str, reach: int) -> None:
    entry = load_entry(repository / name)
    bank = read_bank(entry.folder, entry.card)
    assert bank.names == tuple(head.name for head in entry.card.heads)
    assert bank.fingerprints.shape[2:] == (entry.card.preprocess.crop,) * 2
    assert bank.reach == reach == entry.card.training.get("reach", 0)
