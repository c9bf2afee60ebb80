"""Reads a Triton model repository: which entries there are, and the card each carries. Starts and writes nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from google.protobuf import text_format
from pydantic import ValidationError
from tritonclient.grpc.model_config_pb2 import ModelConfig

from harness.card import CARD_KEY, NAME_PATTERN, WEIGHTS_KEY, Card
from harness.errors import CardError, problem
from harness.names import did_you_mean

CONFIG = "config.pbtxt"


@dataclass(frozen=True)
class Entry:
    """One model of a repository.

    Attributes:
        name: its folder, and the name it is served under.
        folder: the entry.
        model_file: its ONNX file, newest version.
        card: what it is.
        weights_sha256: digest of the file as the configuration states it; empty where it does not.
    """

    name: str
    folder: Path
    model_file: Path
    card: Card
    weights_sha256: str


def find_entries(repository: Path, pattern: str = "*") -> list[Entry]:
    """Return the entries whose name matches a wildcard, sorted.

    Only folders named as a card may be, with a config.pbtxt in them, are entries.

    Raises:
        CardError: none matches, or one that does can't be read.
    """
    return [load_entry(repository / name) for name in match_names(repository, pattern, NAME_PATTERN)]


def match_names(repository: Path, pattern: str = "*", allowed: str = r"[A-Za-z0-9_.\-]+") -> list[str]:
    """Return the names of the entries that match a wildcard, sorted; the entries themselves are not read.

    Args:
        repository: the model repository.
        pattern: wildcard.
        allowed: regular expression of names; others are no entries.

    Raises:
        CardError: none matches.
    """
    folders = sorted(repository.iterdir()) if repository.is_dir() else []
    names = [item.name for item in folders if re.fullmatch(allowed, item.name) and (item / CONFIG).is_file()]
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        hint = did_you_mean(pattern, names) if names else "Fill it: harness export NAME --repository DIR"
        raise CardError(problem(f"model repository {repository}", f"an entry {pattern!r}", "none", hint))
    return found


def load_entry(folder: Path) -> Entry:
    """Read one entry.

    Raises:
        CardError: its configuration or its card can't be read, they name another model, or there is no model file.
    """
    config = read_config(folder / CONFIG)
    if CARD_KEY not in config.parameters:
        raise CardError(
            problem(str(folder / CONFIG), f"a parameter {CARD_KEY}", "none", "Export it with harness export")
        )
    try:
        card = Card.model_validate_json(config.parameters[CARD_KEY].string_value)
    except ValidationError as error:
        raise CardError(problem(f"card in {folder / CONFIG}", "a valid card", str(error), "Export it again")) from error
    if not folder.name == config.name == card.name:
        got = f"configuration {config.name!r}, card {card.name!r}"
        raise CardError(problem(str(folder), "one name for folder, configuration and card", got, "Export it again"))
    files = [item for item in folder.glob("*/model.onnx") if re.fullmatch("[0-9]+", item.parent.name)]
    if not files:
        raise CardError(problem(str(folder), "VERSION/model.onnx", "none", f"Build it: harness export {folder.name}"))
    model_file = max(files, key=lambda item: int(item.parent.name))
    digest = config.parameters[WEIGHTS_KEY].string_value if WEIGHTS_KEY in config.parameters else ""
    return Entry(folder.name, folder, model_file, card, digest)


def read_config(path: Path) -> ModelConfig:
    """Return a parsed config.pbtxt.

    Raises:
        CardError: it can't be read.
    """
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), ModelConfig())
    except (OSError, ValueError, text_format.ParseError) as error:
        raise CardError(problem(str(path), "a model configuration", str(error), "Export the entry again")) from error
