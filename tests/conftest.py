"""What every test may use, and how tests share two workers: a benchmark has the machine to itself."""

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).parents[1]

hypothesis.settings.register_profile("shared", deadline=None)  # machines that others use too
hypothesis.settings.load_profile("shared")


def is_benchmark(item: pytest.Item) -> bool:
    """Whether a test measures time or memory."""
    return item.path.parent.name == "benchmarks"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes minutes first, so that two processes end together, and benchmarks last, when lint is done."""
    items.sort(key=lambda item: (is_benchmark(item), item.path.parent.name != "e2e"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Run a benchmark while the other workers wait between two tests; alone, there is nobody to wait for."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is None:
        return (yield)
    mine = fcntl.LOCK_EX if is_benchmark(item) else fcntl.LOCK_SH
    folder = Path(tempfile.gettempdir())
    with (folder / f"discern-{run}.door").open("w") as door, (folder / f"discern-{run}.room").open("w") as room:
        fcntl.flock(door, fcntl.LOCK_EX)  # whoever waits for the room keeps the door, so that nobody overtakes it
        fcntl.flock(room, mine)
        fcntl.flock(door, fcntl.LOCK_UN)
        return (yield)


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


CLASSIFIERS = {
    "mobilenet_v2.tv_float": "mobilenet_v2_float_folded.pth",
    "mobilenet_v2.tv_int8": "mobilenet_v2_int8_torchscript.pth",
    "squeezenet1_1.tv_float": "squeezenet1_1.pth",
}


@pytest.fixture(scope="session")
def classifiers(discern_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of real classifiers, exported as a user does it, with the gradient of one; processes share it."""
    pytest.importorskip("torch", reason="the extra `export` is not installed")
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_TESTRUNUID" in os.environ:
        folder = folder.parent
    repository = folder / "classifiers"

    def export(name: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "harness", "export", name, "--repository", str(repository)]
        command += ["--weights", str(discern_data / "weights" / CLASSIFIERS[name])]
        command += ["--with-gradient"] if name == "mobilenet_v2.tv_float" else []
        return subprocess.run(command, capture_output=True, text=True, timeout=600)

    with (folder / "classifiers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [name for name in CLASSIFIERS if not (repository / name).is_dir()]
        with ThreadPoolExecutor(2) as pool:
            for ended in pool.map(export, missing):
                assert ended.returncode == 0, ended.stderr + ended.stdout
    return repository


@pytest.fixture(scope="session")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One output folder for all runs of the session, so that the miniature is built once."""
    return tmp_path_factory.mktemp("reports")
