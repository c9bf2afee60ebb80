"""What every test may use."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The tracked model repository."""
    return ROOT / "model_repository"


@pytest.fixture(scope="session")
def suites() -> Path:
    """The shipped suites."""
    return ROOT / "suites"


@pytest.fixture(scope="session")
def discern_data() -> Path:
    """Real weights and images, where DISCERN_DATA says they are."""
    place = os.environ.get("DISCERN_DATA")
    if not place:
        pytest.skip("DISCERN_DATA is not set: no real weights and images here")
    return Path(place)


@pytest.fixture(scope="session")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One output folder for all runs of the session, so that the miniature is built once."""
    return tmp_path_factory.mktemp("reports")
