import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

import discern
import harness
from harness.cli import app
from harness.errors import DamagedWarning, HarnessError, StoreError
from harness.events import Silent
from harness.query import query
from harness.run import Asked, run
from harness.store.addresses import Address, read_address
from harness.store.loads import LOAD_SCHEMA
from harness.store.records import Record
from harness.store.runs import RunStore

CARD = {"preprocess": {"crop": 32}, "score": "probability"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A real run of two scripted models, one of which refuses every other request, over twelve images."""
    root = tmp_path_factory.mktemp("run")
    draw = np.random.default_rng(0)
    for subset in ("gan", "vq"):
        for kind in ("real", "fake"):
            (root / "images" / subset / kind).mkdir(parents=True)
            for i in range(3):
                pixels = draw.integers(0, 255, (32, 32, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(root / "images" / subset / kind / f"{i}.png")
    good = {"card": {"name": "toy.good", **CARD}}
    bad = {"card": {"name": "toy.bad", **CARD}, "faults": [{"kind": "refused", "every": 2}]}
    suite = {
        "name": "toys",
        "data": {"d": {"layout": "real_fake", "root": str(root / "images")}},
        "models": [
            {"name": item["card"]["name"], "endpoint": f"scripted:{json.dumps(item)}", "options": {"batch": 1}}
            for item in (good, bad)
        ],
        "resamples": 100,
        "tasks": [{"kind": "detection", "name": "t", "data": "d", "degradations": ["none", {"jpeg": {"quality": 65}}]}],
    }
    (root / "toys.yaml").write_text(json.dumps(suite))
    return run(Asked(root / "toys.yaml", (), root / "out"), Silent())


@pytest.fixture
def root(finished):
    pytest.importorskip("duckdb", reason="the extra `sql` is not installed")
    return finished.folder.parents[1]


class TestLoadRun:
    def test_one_row_a_record(self, finished):
        loaded = discern.load_run(finished.folder)
        frame = loaded.to_pandas()
        assert loaded.info == finished.info
        keys = ["task", "model", "subset", "split", "degradation", "sample"]
        assert len(frame) == 2 * 2 * 12 == len(frame.drop_duplicates(keys))
        assert set(frame["model"]) == {"toy.good", "toy.bad"}
        assert set(frame["degradation"]) == {"none", "jpeg quality=65 subsampling=4:2:0"}
        assert set(frame["label"]) == {0, 1}
        assert set(frame["batch"]) == {1}

    def test_scores_are_those_in_the_store(self, finished):
        loaded = discern.load_run(str(finished.folder))
        frame = loaded.to_pandas()
        failed = frame["error"].notna()
        assert 0 < failed.sum() < len(frame) / 2
        assert set(frame[failed]["model"]) == {"toy.bad"}
        assert frame[failed]["scores"].isna().all()
        name, key = next(iter(loaded.info.cells.items()))
        here = read_address(name)
        mine = frame[(frame["model"] == here.model) & (frame["subset"] == here.subset)]
        mine = mine[mine["degradation"] == here.degradation]
        stored = loaded.records.read(key)
        assert list(mine["sample"]) == stored["sample"].to_pylist()
        assert [None if item is None else list(item) for item in mine["scores"]] == stored["scores"].to_pylist()

    def test_what_is_no_run_is_an_error(self, tmp_path):
        for path in (tmp_path / "runs" / "none", "/"):
            with pytest.raises(StoreError, match="a folder"):
                discern.load_run(path)

    def test_the_package_itself_stays_light(self):
        code = "import sys, harness; sys.exit('pandas' in sys.modules or 'pyarrow' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code]).returncode == 0
        with pytest.raises(AttributeError, match="nothing"):
            _ = harness.nothing


class TestQuery:
    def test_records_are_what_pandas_gives(self, root, finished):
        frame = discern.load_run(finished.folder).to_pandas()
        asked = query(root, "SELECT model, sample, scores[1] AS score, error FROM records ORDER BY ALL")
        assert len(asked) == len(frame)
        assert asked["error"].notna().sum() == frame["error"].notna().sum()
        mine = sorted(float(item[0]) for item in frame["scores"] if item is not None)
        assert sorted(asked["score"].dropna()) == pytest.approx(mine)

    def test_runs_and_cells(self, root, finished):
        said = query(root, "SELECT run, suite, valid, per_subset, environment['python'] AS python FROM runs")
        assert said.iloc[0].tolist()[:3] == [finished.info.id, "toys", False]
        assert said["python"][0] == finished.info.environment["python"]
        [(cells, keys)] = query(root, "SELECT count(*), count(DISTINCT key) FROM cells").to_numpy().tolist()
        assert (cells, keys) == (len(finished.info.cells), len(set(finished.info.cells.values())))

    def test_a_run_of_the_same_cells_has_the_same_records(self, root, finished):
        store = RunStore(root)
        store.save(finished.info.model_copy(update={"id": "again"}))
        counts = query(root, "SELECT run, count(*) AS n FROM records GROUP BY run")["n"]
        (store.folder("again") / "run.json").unlink()
        assert counts.tolist() == [48, 48]

    def test_an_answer_wins_over_a_failure_and_damage_counts_as_nothing(self, root, finished, tmp_path):
        store = RunStore(tmp_path)
        key = "ab" * 32
        store.save(finished.info.model_copy(update={"cells": {"t/m/s/test/none/batch 8": key}}))
        store.cells.append(key, [Record(0, "a", "a", 0, None, "endpoint:timeout"), Record(1, "b", "b", 1, [0.5])])
        store.cells.append(key, [Record(0, "a", "a", 0, [0.25])])
        folder = tmp_path / "cells" / "ab" / key
        (folder / "000000009-x.parquet").write_bytes(b"PAR1 cut off")
        whole = next(folder.glob("000000000-*")).read_bytes()
        (folder / "000000009-y.parquet").write_bytes(whole[:4] + bytes(len(whole) - 8) + whole[-4:])
        (folder / "000000009-z.parquet").write_bytes(whole[:4] + b"\xff" * 300 + whole[304:])
        with pytest.warns(DamagedWarning):
            asked = query(tmp_path, "SELECT sample, scores, error FROM records ORDER BY sample")
        assert asked["scores"].tolist() == [[0.25], [0.5]]
        assert asked["error"].isna().all()

    def test_a_part_whose_bytes_are_not_those_written_is_not_asked(self, finished, tmp_path):
        store, key = RunStore(tmp_path), "cd" * 32
        store.save(finished.info.model_copy(update={"cells": {"t/m/s/test/none/batch 8": key}}))
        store.cells.append(key, [Record(i, f"{i}", "a", 0, [0.25]) for i in range(2)])
        (path,) = store.cells.parts()
        changed = path.read_bytes().replace(np.float32(0.25).tobytes(), np.float32(0.75).tobytes())
        assert changed != path.read_bytes()
        path.write_bytes(changed)
        with pytest.warns(DamagedWarning, match="of another digest"):
            assert len(query(tmp_path, "SELECT * FROM records")) == 0

    def test_records_at_a_url_are_asked_like_those_in_a_folder(self, root, finished, tmp_path):
        pytest.importorskip("fsspec", reason="the extra `remote` is not installed")
        url = f"memory://{tmp_path.name}"
        near, far = RunStore(root), RunStore(tmp_path, url)
        for key in finished.info.cells.values():
            near.cells.copy(key, far.cells)
        far.save(finished.info.model_copy(update={"records": url}))
        sql = "SELECT * FROM records ORDER BY ALL"
        assert query(tmp_path, sql).equals(query(root, sql))
        assert len(query(tmp_path, "SELECT * FROM searches")) == 0
        far.save(finished.info)
        assert len(query(tmp_path, sql)) == 0

    def test_views_without_records_are_empty_tables(self, root):
        for name in ("searches", "differences", "loads"):
            assert len(query(root, f"SELECT * FROM {name}")) == 0
        columns = query(root, "DESCRIBE loads")["column_name"].tolist()
        assert columns[:3] == ["run", "task", "model"]
        assert set(LOAD_SCHEMA.names) <= set(columns)
        assert "png" not in query(root, "DESCRIBE searches")["column_name"].tolist()

    @pytest.mark.parametrize(
        "sql",
        [
            "COPY runs TO '{to}'",
            "COPY (SELECT 1) TO '{to}'",
            "ATTACH '{to}'",
            "SET enable_external_access = true",
            "INSTALL httpfs",
            "CREATE TABLE x AS SELECT 1",
            "DROP TABLE cells",
            "SELECT 1; DROP TABLE cells",
            "EXPORT DATABASE '{to}'",
            "SELECT * FROM read_text('{file}')",
            "SELECT * FROM read_csv('{file}')",
            "SELECT * FROM '{file}'",
            "SELECT * FROM glob('/*')",
            "SELECT * FROM infos",
            "SELECT nonsense FROM runs",
            "",
        ],
    )
    def test_only_questions_are_answered(self, root, finished, tmp_path, sql):
        before = sorted(path for path in root.rglob("*"))
        with pytest.raises(HarnessError, match="harness sql"):
            query(root, sql.format(to=tmp_path / "x", file=finished.folder / "tables" / "models.csv"))
        assert not (tmp_path / "x").exists()
        assert sorted(path for path in root.rglob("*")) == before

    def test_the_command(self, root):
        def ask(*words: str) -> Result:
            return CliRunner().invoke(app, ["sql", "--out", str(root), *words])

        table = ask("SELECT model, count(*) AS n FROM records GROUP BY model ORDER BY model")
        assert table.stdout.split() == ["model", "n", "--------", "---", "toy.bad", "24", "toy.good", "24", "2", "rows"]
        assert ask("--csv", "SELECT [1, 2] AS pair").stdout == 'pair\n"[1, 2]"\n'
        refused = ask("DROP TABLE cells").exception
        assert isinstance(refused, HarnessError)
        assert refused.exit_code == 2


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("t/a.b/s/test/none/batch 8", Address("t", "a.b", "s", "test", "none", batch=8)),
        ("t/a.b/s/test/none", Address("t", "a.b", "s", "test", "none")),
        ("t/a.b/s/sub/test/jpeg q=4:2:0/batch 1", Address("t", "a.b", "s/sub", "test", "jpeg q=4:2:0", batch=1)),
        ("t/a -> b/cw queries=5/s/test", Address("t", "a -> b", "s", "test", method="cw queries=5")),
        ("t/a.b/offline", Address("t", "a.b", method="offline")),
        ("history", None),
        ("", None),
    ],
)
def test_addresses(name: str, address: Address | None) -> None:
    assert read_address(name) == address


def test_every_cell_of_a_run_has_an_address(finished):
    assert all(read_address(name) for name in finished.info.cells)
    assert Path(finished.folder / "run.json").is_file()
