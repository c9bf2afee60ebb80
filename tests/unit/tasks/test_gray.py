import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.conclude import Prepared, draw_conclusion
from harness.errors import DataError
from harness.events import Silent
from harness.plan import make_plan
from harness.report.markdown import markdown
from harness.spec.load import load_suite
from harness.store.runs import RunStore
from harness.tasks.gray import History, read_history, stages

SIDE = 32


def history() -> History:
    """Return a checkerboard that fades in noise that does not."""
    down, right = np.mgrid[:SIDE, :SIDE]
    board = (-1.0) ** (down + right)
    noise = np.random.default_rng(0).normal(0, 0.02, (3, SIDE, SIDE))
    outputs = np.stack([strength * board + noise for strength in (0.5, 0.1, 0.0)])
    losses = np.array([((0.5 * output) ** 2).mean() for output in outputs], np.float32)
    return History("transposed", 8, 0, (0, 1, 2), outputs.astype(np.float16), losses)


def rewritten(path: Path, **changes: object) -> Path:
    """Change what a file says, its digest apart."""
    with np.load(path) as file:
        said = {name: file[name] for name in file.files} | changes
    buffer = io.BytesIO()
    np.savez(buffer, **said)
    path.write_bytes(buffer.getvalue())
    return path


class TestHistory:
    def test_comes_back_as_it_was(self, tmp_path: Path) -> None:
        made = history()
        made.save(tmp_path / "a" / "h.npz")
        found = read_history(tmp_path / "a" / "h.npz")
        assert found.digest() == made.digest()
        assert (found.outputs == made.outputs).all()
        assert (found.up, found.base, found.seed, found.steps) == ("transposed", 8, 0, (0, 1, 2))

    def test_everything_is_in_the_digest(self) -> None:
        made = history()
        outputs = made.outputs.copy()
        outputs[0, 0, 0, 0] += np.float16(0.01)
        others = [
            replace(made, up="nearest"),
            replace(made, seed=1),
            replace(made, outputs=outputs),
            replace(made, losses=made.losses * 2),
            replace(made, steps=(0, 2), outputs=made.outputs[:2]),
        ]
        assert len({item.digest() for item in (made, *others)}) == 6

    def test_a_missing_file_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"expected a gray history, .*Make it: python -m export\.training gray\."):
            read_history(tmp_path / "none.npz")

    def test_a_tampered_one_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "h.npz"
        history().save(path)
        with pytest.raises(DataError, match="expected digest"):
            read_history(rewritten(path, losses=np.full(3, 0.5, np.float32)))

    @pytest.mark.parametrize(
        "content",
        [b"", b"PK\x03\x04 no archive", b"\x80\x04K\x01.", b"\x93NUMPY"],
        ids=["empty", "broken archive", "a pickle", "broken array"],
    )
    def test_what_is_no_history_is_refused(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "h.npz"
        path.write_bytes(content)
        with pytest.raises(DataError, match="expected a gray history"):
            read_history(path)

    @pytest.mark.parametrize("place", [0.05, 0.3, 0.5, 0.7])
    def test_a_flipped_byte_is_noticed(self, place: float, tmp_path: Path) -> None:
        path = tmp_path / "h.npz"
        history().save(path)
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] ^= 0xFF
        path.write_bytes(content)
        with pytest.raises(DataError):
            read_history(path)

    def test_pickled_arrays_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "h.npz"
        history().save(path)
        with pytest.raises(DataError, match="expected a gray history"):
            read_history(rewritten(path, up=np.array([{}], object)))

    @pytest.mark.parametrize(
        "changes",
        [
            {"steps": (0, 2, 1)},
            {"steps": (0, 1)},
            {"steps": (0, 1, 3)},
            {"steps": (), "outputs": np.zeros((0, 3, 32, 32), np.float16)},
            {"outputs": np.zeros((3, 3, 32, 32), np.float32)},
            {"outputs": np.full((3, 3, 32, 32), np.nan, np.float16)},
            {"outputs": np.zeros((3, 3, 32, 30), np.float16)},
            {"losses": np.zeros(3, np.float32)},
        ],
    )
    def test_what_can_not_be_is_refused(self, changes: dict[str, object]) -> None:
        with pytest.raises(DataError, match="gray history"):
            replace(history(), **changes)  # type: ignore[arg-type]


def test_stages_tell_error_peaks_and_lattice() -> None:
    found = stages(history())
    assert [stage.psnr for stage in found] == pytest.approx([12.04, 25.9, 40], abs=0.15)
    assert [(peak.x, peak.y) for peak in found[0].peaks] == [(0.5, 0.5)]
    assert found[0].peaks[0].ratio == pytest.approx(5 * found[1].peaks[0].ratio, rel=0.05)
    assert found[2].peaks == ()
    assert found[0].lattice[2] > 5 * max(found[0].lattice[level] for level in (4, 8, 16, 0))
    assert found[2].lattice[0] == pytest.approx(1, abs=0.1)


class TestRun:
    """A suite of gray tasks alone."""

    def ready(self, folder: Path) -> Prepared:
        history().save(folder / "h.npz")
        path = folder / "suite.yaml"
        path.write_text("name: s\ntasks:\n  - {kind: gray, history: h.npz}\n")
        return Prepared(load_suite(path), {}, {}, histories={"gray": read_history(folder / "h.npz")})

    def test_is_valid_without_a_record(self, tmp_path: Path) -> None:
        ready = self.ready(tmp_path)
        plan = make_plan(ready.suite, {}, {}, files=ready.files)
        report, reasons = draw_conclusion(ready, plan, RunStore(tmp_path / "out"), Silent())
        assert not reasons
        assert report.verdict == "VALID"
        assert "Strongest peaks" in markdown(report)

    def test_another_history_is_another_plan(self, tmp_path: Path) -> None:
        ready = self.ready(tmp_path)
        plans = [make_plan(ready.suite, {}, {}, files={"gray": digest}) for digest in ("a", "a", "b")]
        assert plans[0].digest == plans[1].digest != plans[2].digest
        assert plans[0].keys == {"gray": "a"}
