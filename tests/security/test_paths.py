"""No name, table, link or run of others leads out of the folder that it belongs to, for reading or for writing."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from harness.backends.base import EndpointOptions
from harness.backends.opening import open_backend
from harness.data.inside import read_inside, stays_inside
from harness.data.opening import open_dataset
from harness.data.paired import pair_paths
from harness.data.spots import TablePairs
from harness.difference import parse_method
from harness.diffs import diff_pairs, read_asked
from harness.errors import CardError, DamagedWarning, DataError, EndpointRefused, HarnessError, ImageError, SuiteError
from harness.events import Silent
from harness.remote import open_place
from harness.repository import find_entries, load_entry
from harness.site.build import build_site
from harness.spec.load import load_suite
from harness.spec.suite import DataSpec
from harness.store.runs import RunStore
from tests.security.hostile import harness
from tests.security.loopback import Answer, Request, serving
from tests.unit.sites import board, make_run, report, run_json

ROOT = Path(__file__).parents[2]

OUTSIDE = ("../x", "/etc/passwd", "..", "a/../../x", "a\0b", "./../x")
"""Names that lead, or may lead, out of a folder."""


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path, "png")
    return path


def suite(folder: Path, **changes: object) -> Path:
    said = {
        "name": "paths",
        "data": {"d": {"layout": "miniature"}},
        "models": ["dif.miniature"],
        "tasks": [{"kind": "detection", "data": "d"}],
    }
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(said | changes), encoding="utf-8")
    return path


class TestSuites:
    @pytest.mark.parametrize("name", [*OUTSIDE, "a.b/../../x", "a.b\n", "A.B", "a/b.c"])
    def test_names_that_become_paths_are_no_paths(self, tmp_path: Path, name: str) -> None:
        task = {"kind": "detection", "data": "d"}
        for changes in (
            {"models": [name]},
            {"models": [{"name": name, "endpoint": "grpc://127.0.0.1:1/x"}]},
            {"name": name},
            {"data": {name: {"layout": "miniature"}}},
            {"tasks": [task | {"name": name}]},
            {"models": [{"name": "a.b", "variants": {name: {"batch": 1}}}]},
        ):
            with pytest.raises(SuiteError):
                load_suite(suite(tmp_path, **changes))

    @pytest.mark.parametrize("key", ["include", "includes", "extends", "import", "base"])
    def test_a_suite_includes_no_other_file(self, tmp_path: Path, key: str) -> None:
        with pytest.raises(SuiteError, match=f"expected a known key, got '{key}'"):
            load_suite(suite(tmp_path, **{key: "../other.yaml"}))

    @pytest.mark.parametrize("tag", ["!include /etc/passwd", "!!python/object/apply:os.system [id]", "!!binary aGk="])
    def test_yaml_reads_no_file_and_makes_no_object(self, tmp_path: Path, tag: str) -> None:
        path = tmp_path / "suite.yaml"
        path.write_text(f"name: x\ndescription: {tag}\ntasks: []\n")
        with pytest.raises(SuiteError, match="expected plain YAML"):
            load_suite(path)

    def test_a_nul_is_told_with_its_line(self, tmp_path: Path) -> None:
        path = tmp_path / "suite.yaml"
        path.write_text('name: x\ndata:\n  d: {layout: manifest, root: "a\\0b"}\ntasks: []\n')
        with pytest.raises(SuiteError, match=r"suite\.yaml:3: data\.d\.root: .* a NUL in it"):
            load_suite(path)
        with pytest.raises(SuiteError, match=r"repository: .* a NUL in it"):
            load_suite(suite(tmp_path), ['repository="a\\0b"'])

    def test_claims_lie_beside_the_suite(self, tmp_path: Path) -> None:
        here = tmp_path / "suites"
        here.mkdir()
        (tmp_path / "x").write_text("architecture,gan\ndif,90\n")
        (here / "link.csv").symlink_to(tmp_path / "x")
        for file in ("../x", str(tmp_path / "x"), "link.csv"):
            table = {"file": file, "kind": "mean", "source": "s"}
            with pytest.raises(SuiteError, match="a file inside the suite's folder"):
                load_suite(suite(here, report={"claim_tables": [table]}))


class TestRepositories:
    @pytest.mark.parametrize("pattern", ["../*", "/*", "../model.*", "[.][.]", "*/../*"])
    def test_a_wildcard_finds_entries_of_the_repository_alone(self, tmp_path: Path, pattern: str) -> None:
        for name in ("model.outside", "repository/model.inside"):
            (tmp_path / name).mkdir(parents=True)
            (tmp_path / name / "config.pbtxt").write_text("")
        with pytest.raises(CardError, match="an entry"):
            find_entries(tmp_path / "repository", pattern)

    def test_folders_of_other_names_are_no_entries(self, tmp_path: Path, repository: Path) -> None:
        for name in ("..a.b", "a b.c", "-x.y", "<script>.x", "a.b\n"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "config.pbtxt").write_text("")
        with pytest.raises(CardError, match="Fill it"):
            find_entries(tmp_path)

    def test_an_entry_that_calls_itself_otherwise_is_refused(self, tmp_path: Path) -> None:
        card = json.dumps(json.dumps({"name": "a.b"}))
        entry = tmp_path / "a.b"
        entry.mkdir()
        said = f'parameters {{ key: "discern.card" value {{ string_value: {card} }} }}'
        (entry / "config.pbtxt").write_text(f'name: "../../a.b"\n{said}')
        with pytest.raises(CardError, match="one name for folder, configuration and card"):
            load_entry(entry)

    @pytest.mark.parametrize("where", ["../secret.bin", "{outside}", "link.bin"])
    def test_weights_of_a_model_lie_beside_it(self, tmp_path: Path, where: str) -> None:
        outside = tmp_path / "secret.bin"
        outside.write_bytes(np.ones(4, np.float32).tobytes())
        folder = tmp_path / "model"
        folder.mkdir()
        (folder / "link.bin").symlink_to(outside)
        (folder / "weights.bin").write_bytes(outside.read_bytes())
        path = folder / "model.onnx"
        with_weights(path, "weights.bin")
        backend = open_backend(f"onnx:{path}", EndpointOptions(threads=1))
        assert backend.infer({"x": np.ones((1, 4), np.float32)})["y"].tolist() == [[2, 2, 2, 2]]
        with_weights(path, where.format(outside=outside))
        with pytest.raises(EndpointRefused, match="an ONNX model"):
            open_backend(f"onnx:{path}", EndpointOptions(threads=1))


def with_weights(path: Path, location: str) -> None:
    """Write a model that adds four numbers which lie in another file."""
    onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
    weights = onnx.TensorProto(name="w", data_type=1, dims=[4], data_location=1)
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        weights.external_data.add(key=key, value=value)
    tensors = [onnx.helper.make_tensor_value_info(name, 1, ["n", 4]) for name in "xy"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "w"], ["y"])], "g", tensors[:1], tensors[1:], [weights]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())


def csv_table(path: Path, image: str) -> Path:
    path.write_text(f'path,label,subset\n"{image}",fake,gan\n', encoding="utf-8")
    return path


def parquet_table(path: Path, image: str) -> Path:
    path = path.with_suffix(".parquet")
    pq.write_table(pa.table({"path": [image], "label": ["fake"], "subset": ["gan"]}), path)
    return path


class TestData:
    @pytest.mark.parametrize("write", [csv_table, parquet_table])
    @pytest.mark.parametrize("path", OUTSIDE)
    def test_a_table_names_nothing_outside(self, tmp_path: Path, write: Callable[[Path, str], Path], path: str) -> None:
        spec = DataSpec(layout="manifest", root=str(write(tmp_path / "table.csv", path)))
        with pytest.raises(DataError, match="a path inside its folder"):
            open_dataset("d", spec, tmp_path, tmp_path / "cache", Silent())

    @pytest.mark.parametrize("path", OUTSIDE)
    def test_nor_does_a_table_of_pairs(self, tmp_path: Path, path: str) -> None:
        for row in (f'"{path}",b,,', f'a,"{path}",,', f'a,b,"{path}",'):
            (tmp_path / "pairs.csv").write_text(f"a,b,mask,boxes\n{row}\n")
            with pytest.raises(DataError, match="a path inside its folder"):
                TablePairs(tmp_path / "pairs.csv")

    def test_links_out_of_the_folder_are_not_read(self, tmp_path: Path) -> None:
        root = tmp_path / "data"
        picture(tmp_path / "secret.png")
        picture(root / "in.png")
        (root / "out.png").symlink_to(tmp_path / "secret.png")
        (root / "loop.png").symlink_to(root / "loop.png")
        (root / "near.png").symlink_to(root / "in.png")
        os.mkfifo(root / "pipe.png")
        names = ("in.png", "near.png", "out.png", "loop.png", "pipe.png", "gone.png")
        (root / "table.csv").write_text("path,label,subset\n" + "".join(f"{name},fake,gan\n" for name in names))
        data = open_dataset("d", DataSpec(layout="manifest", root="table.csv"), root, tmp_path / "cache", Silent())
        samples = {sample.path: sample for sample in data.samples("gan", "test")}
        assert {name for name, sample in samples.items() if sample.bytes} == {"in.png", "near.png"}
        for name in names[2:]:
            with pytest.raises(ImageError) as caught:
                data.read(samples[name])
            assert caught.value.reason == "missing"

    def test_folders_are_listed_without_links_and_pipes(self, tmp_path: Path) -> None:
        picture(tmp_path / "secret" / "x.png")
        root = tmp_path / "data"
        picture(root / "gan" / "fake" / "in.png")
        (root / "gan" / "fake" / "out.png").symlink_to(tmp_path / "secret" / "x.png")
        (root / "gan" / "fake" / "folder").symlink_to(tmp_path / "secret")
        os.mkfifo(root / "gan" / "fake" / "pipe.png")
        data = open_dataset("d", DataSpec(layout="real_fake", root="data"), tmp_path, tmp_path / "cache", Silent())
        assert [sample.path for sample in data.samples("gan", "test")] == ["gan/fake/in.png"]

    @pytest.mark.parametrize("path", ["/etc/hostname", "../../etc/hostname"])
    def test_a_downloaded_data_set_names_no_file_of_this_machine(self, path: str) -> None:
        pytest.importorskip("datasets", reason="the extra `datasets` is not installed")
        from harness.data.huggingface import stored

        with pytest.raises(OSError, match="outside"):
            stored({"test": [{"image": {"bytes": None, "path": path}}]}, {}, "test/0")  # type: ignore[arg-type]

    @pytest.mark.parametrize("path", OUTSIDE)
    def test_what_is_outside_is_so_in_any_form(self, tmp_path: Path, path: str) -> None:
        assert not stays_inside(path)
        with pytest.raises(OSError, match=r"outside|null"):
            read_inside(tmp_path, path)

    @pytest.mark.parametrize(
        "url", ["s3://key:c4n4ry@b/x", "https://h/x.csv?sig=c4n4ry", "zip://x::https://u:c4n4ry@h/y"]
    )
    def test_a_url_is_one_address_without_secrets(self, url: str) -> None:
        with pytest.raises(HarnessError, match="one address, without credentials or query") as caught:
            open_place(url)
        assert "c4n4ry" not in str(caught.value)


class TestRuns:
    @pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "..", "a/b", ""])
    def test_a_run_writes_to_its_own_folder(self, tmp_path: Path, name: str) -> None:
        folder = tmp_path / "runs" / "one"
        folder.mkdir(parents=True)
        for said in (run_json(name), run_json("one", cells={"t/m.x/gan/test/none/batch 8": name})):
            (folder / "run.json").write_text(json.dumps(said))
            store = RunStore(tmp_path)
            with pytest.warns(DamagedWarning, match="a readable run"):
                assert store.all() == []
            with pytest.raises(HarnessError, match="a readable run"):
                store.load("one")

    def test_a_site_takes_no_file_from_outside_a_run(self, tmp_path: Path) -> None:
        (tmp_path / "secret.csv").write_text("secret")
        (tmp_path / "secrets").mkdir()
        (tmp_path / "secrets" / "more.svg").write_text("secret")
        run = make_run(tmp_path, "one", report(board({"a.one": 0.5})))
        (run / "tables" / "leak.csv").symlink_to(tmp_path / "secret.csv")
        (run / "pictures").symlink_to(tmp_path / "secrets")
        site = build_site(tmp_path, tmp_path / "site", Silent()).index.parent
        written = [path for path in site.rglob("*") if path.is_file()]
        assert "detect_leaderboard.csv" in {path.name for path in written}
        assert not [path for path in written if path.read_bytes() == b"secret"]

    def test_pictures_of_differences_stay_below_out(self, tmp_path: Path) -> None:
        names = ("..png", "<script>x</script>/a.png", "a b;rm.png", "\x1b[31m.png", ". .png", "figures.csv.png")
        for side in ("a", "b"):
            for name in names:
                picture(tmp_path / side / name)
        paired = pair_paths(tmp_path / "a", tmp_path / "b")
        told = list(diff_pairs(paired, read_asked(parse_method("difference")), {}, tmp_path / "out" / paired.name))
        assert all(not item.error for item in told)
        written = {path.relative_to(tmp_path / "out").parts for path in (tmp_path / "out").rglob("*.png")}
        assert {len(parts) for parts in written} == {3}
        allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
        assert all(set(part) <= allowed and part not in ("", ".", "..") for parts in written for part in parts)


def test_a_server_puts_no_command_into_a_shell() -> None:
    def answer(request: Request) -> Answer:
        return Answer(body=[{"name": "fine.model"}, {"name": "x;touch /tmp/x $(id) \x1b]0;o\x07"}])

    with serving(answer) as server:
        said = harness("probe", f"http://{server.address}").output.splitlines()
    assert said == [
        f"harness probe http://{server.address}/fine.model",
        f"harness probe 'http://{server.address}/x;touch /tmp/x $(id) \ufffd]0;o\ufffd'",
    ]


UNSAFE = re.compile(
    r"^\s*(?:import|from) (?:pickle|dill|cloudpickle|shelve|marshal|joblib|tarfile)\b"
    r"|(?<![\w.])(?:eval|exec)\(|os\.(?:system|popen)\(|shell=True|yaml\.(?:load|unsafe_load)\("
    r"|extractall\(|unpack_archive\(|allow_pickle=True|torch\.load\((?!.*weights_only=True)",
    re.MULTILINE,
)
"""What makes objects of what it reads, runs it, or writes wherever an archive says."""

RESTRICTED = {"export/torchscript.py": ["import pickle"]}
"""Its Unpickler makes what a list names and nothing else."""


@pytest.mark.parametrize("package", ["harness", "export"])
def test_nothing_runs_what_it_reads_or_writes_where_an_archive_says(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        file = path.relative_to(ROOT).as_posix()
        assert UNSAFE.findall(path.read_text(encoding="utf-8")) == RESTRICTED.get(file, []), file
