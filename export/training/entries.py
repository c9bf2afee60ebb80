"""Trained models as entries of a repository: which is there already, and how one gets there. Trains nothing."""

from __future__ import annotations

from pathlib import Path

from export.built import Built
from export.catalog import enter
from export.training.spec import Training
from export.triton import Serving
from harness.card import Card
from harness.events import Events
from harness.repository import CONFIG, load_entry


def card_there(repository: Path, name: str) -> Card | None:
    """Return the card of an entry; None where there is none of that name."""
    folder = repository / name
    return load_entry(folder).card if (folder / CONFIG).is_file() else None


def enter_trained(built: Built, training: Training, repository: Path, events: Events) -> None:
    """Export a trained model into the repository.

    Args:
        built: the model and its card.
        training: the file that it was trained by.
        repository: where the entry goes.
        events: hears that it is being exported.

    Raises:
        ParityError: the export does not answer as the model does.
    """
    events.begin(f"exporting {built.card.name}", 0, "stages")
    try:
        enter(built, repository, Serving("auto"), lambda line: None, check_served=training.check_served)
    finally:
        events.end()
