"""Whole files of every kind that the harness reads beside images, how each is damaged, and what opens it."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
import yaml
from google.protobuf import text_format
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc.model_config_pb2 import ModelConfig

import harness
from harness.backends.base import EndpointOptions
from harness.backends.ort import OrtBackend
from harness.backends.scripted import read_script
from harness.baselines import open_side
from harness.card import CARD_KEY, Card, Head
from harness.compare import compare
from harness.comparison.noise import Noise, noise_file, read_noise
from harness.data.layouts import table
from harness.data.opening import open_dataset
from harness.data.spots.table import TablePairs
from harness.events import Silent
from harness.fingerprints.bank import Bank
from harness.fingerprints.fitting import fit_reference
from harness.fingerprints.reference import open_reference
from harness.found_pairs import pair_found
from harness.images.preprocess import Preprocess
from harness.pytest_benchmarks import benchmark_changes, read_benchmarks
from harness.query import query
from harness.report.files import write_report
from harness.report.kept import dump, load
from harness.repository import load_entry
from harness.site.build import build_site
from harness.spec.claim_tables import read_claims
from harness.spec.load import load_suite
from harness.spec.report import ClaimTable
from harness.spec.suite import DataSpec, ReferenceSpec
from harness.store.cells import CellStore
from harness.store.files import write_atomic
from harness.store.records import Record
from harness.tasks.gray import History, read_history
from tests.fuzz.mutators import damaged, damaged_tree
from tests.fuzz.watched import ROOT, Kind
from tests.unit.comparison.runs_by_hand import CLASSIFICATION, DETECTION, LOADS, classified, detected, loaded
from tests.unit.fingerprints.pictures import SIDE, opened, pictures, put
from tests.unit.sites import board, report

Damage = Callable[[bytes, Random, Sequence[bytes]], bytes]

SUITES = ROOT / "suites"
REPOSITORY = ROOT / "model_repository"


def as_tree(read: Callable[[bytes], Any], write: Callable[[Any], bytes]) -> Damage:
    """Return damage to what a text says three times out of four, else to its bytes."""

    def damage(content: bytes, draw: Random, others: Sequence[bytes]) -> bytes:
        if draw.random() < 0.25:
            return damaged(content, draw, others)
        return write(damaged_tree(read(content), draw))

    return damage


JSON = as_tree(json.loads, lambda tree: json.dumps(tree).encode())
YAML = as_tree(yaml.safe_load, lambda tree: yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"))


def lines(content: bytes, draw: Random, others: Sequence[bytes]) -> bytes:
    """Damage a table's cells two times out of three, else its bytes."""
    if draw.random() < 0.33:
        return damaged(content, draw, others)
    rows = [line.split(",") for line in content.decode().splitlines()]
    for _ in range(draw.choice((1, 2, 4))):
        row = draw.choice(rows)
        row[draw.randrange(len(row))] = draw.choice(CELLS)
        if draw.random() < 0.2:
            draw.choice((row.clear, row.pop, partial(row.append, "x")))()
            rows = [row or [""] for row in rows]
    return "\n".join(",".join(row) for row in rows).encode("utf-8", "surrogatepass")


CELLS = (
    "",
    "-1",
    "1e999",
    "nan",
    "9" * 5000,
    "²",
    "\x00",
    '"',
    "../../x",
    "/etc/passwd",
    "x" * 200_000,
    "0:0:9:9",
    "é",
    "=1+1",
)


def texts(folder: Path, pattern: str) -> Sequence[bytes]:
    """Return the files below a folder that match."""
    return [path.read_bytes() for path in sorted(folder.glob(pattern))]


def linked(name: str) -> Callable[[Path], None]:
    """Return what puts a shipped folder into the test's."""
    return lambda folder: shutil.copytree(SUITES / name, folder / name, dirs_exist_ok=True) and None


# --- claims, suites, scripts


TABLES = tuple(
    ClaimTable(file="claims.csv", source="s", **said)  # type: ignore[arg-type]
    for said in (
        {"kind": "cross", "architecture": "resnet50"},
        {"kind": "mean"},
        {"kind": "trained_on", "trained_on": "sd14"},
        {"kind": "degraded", "trained_on": "sd14"},
        {"kind": "in_domain", "architecture": "npr"},
    )
)

CLAIMS = (
    b"trained_on,biggan,adm\nbiggan,99.9,50\nadm,,0.5\n",
    b"architecture,midjourney,sd14\nresnet50,59,99.9\nnpr,91,\n",
    b"architecture,jpeg quality=65,blur sigma=3\nresnet50,59,99.9\nnpr,91,\n",
    b"trained_on,value\nbiggan,99.9\nadm,100\n",
)


def read_tables(folder: Path) -> None:
    """Read the claims in a file as every kind of table; the last complaint counts."""
    complaint: Exception | None = None
    for said in TABLES:
        try:
            read_claims(said, folder)
        except harness.errors.HarnessError as error:
            complaint = error
        else:
            return
    assert complaint is not None
    raise complaint


CARD = Card(name="toy.one", preprocess=Preprocess(crop=8), heads=(Head(name="fake"), Head(name="b", trained_on=("b",))))

SCRIPT = {"card": {"name": "toy.one", "preprocess": {"crop": 8}}, "rule": "hash", "faults": [{"kind": "nan"}]}


# --- ONNX and its entry


def graph() -> onnx.ModelProto:
    """Return a small model with a card: a convolution, weights, a branch."""
    draw = np.random.default_rng(0)
    weights = {
        "w": draw.normal(size=(2, 3, 3, 3)).astype(np.float32),
        "axes": np.array([2, 3], np.int64),
        "half": np.array(0.5, np.float32),
    }
    nodes = [
        helper.make_node("Transpose", ["image"], ["turned"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["turned"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "half"], ["small"]),
        helper.make_node("Conv", ["small", "w"], ["felt"], pads=[1, 1, 1, 1]),
        helper.make_node("ReduceMean", ["felt", "axes"], ["score"], keepdims=0),
    ]
    made = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 8, 8, 3])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {CARD_KEY: CARD.model_dump_json()})
    return model


def models() -> Sequence[bytes]:
    """Return small models, shipped ones among them."""
    shipped = [REPOSITORY / name / "1" / "model.onnx" for name in ("dzanic20.mini_s0", "durall20.mini_s0")]
    return [graph().SerializeToString(), *(path.read_bytes() for path in shipped)]


def read_model(folder: Path) -> None:
    """Open a model in process, and ask it where its card says how."""
    path = folder / "model.onnx"
    backend = OrtBackend(f"onnx:{path}", path, EndpointOptions(threads=1))
    info = backend.info()
    if info.card is not None and all(len(shape) == 4 for _, shape in info.inputs.values()):
        backend.infer({info.card.input: np.zeros((1, 8, 8, 3), np.uint8)})


def configs() -> Sequence[bytes]:
    """Return the configurations of one entry of each of the repository's shapes, under one name."""
    found = []
    for name in ("dzanic20.mini_s0", "dif.samples_32", "cnnspot.mini_gan.gradcam"):
        text = (REPOSITORY / name / "config.pbtxt").read_text(encoding="utf-8")
        found.append(text.replace(name, "toy.one").encode())
    return found


def damage_config(content: bytes, draw: Random, others: Sequence[bytes]) -> bytes:
    """Damage the text, or the card inside it."""
    if draw.random() < 0.5:
        return damaged(content, draw, others)
    config = text_format.Parse(content.decode(), ModelConfig())
    card = json.loads(config.parameters[CARD_KEY].string_value)
    config.parameters[CARD_KEY].string_value = json.dumps(damaged_tree(card, draw))
    return text_format.MessageToString(config).encode()


def prepare_entry(folder: Path) -> None:
    """Put a model file where an entry has it."""
    (folder / "toy.one" / "1").mkdir(parents=True, exist_ok=True)
    (folder / "toy.one" / "1" / "model.onnx").write_bytes(b"")


# --- data


def parquet(rows: Sequence[dict[str, object]]) -> bytes:
    """Return a table as Parquet."""
    import pandas as pd

    buffer = io.BytesIO()
    pd.DataFrame(rows).to_parquet(buffer)
    return buffer.getvalue()


ROWS = [
    {"path": f"{place}.png", "label": place % 2, "subset": "ab"[place % 2], "split": "test", "source": f"s{place}"}
    for place in range(6)
]


def table_csv() -> Sequence[bytes]:
    """Return a data set's table."""
    text = [",".join([*ROWS[0], "target"]), *(",".join([*map(str, row.values()), "3"]) for row in ROWS)]
    return ["\n".join(text).encode()]


def manifests() -> Sequence[bytes]:
    """Return a manifest as the harness keeps it."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        prepare_manifest(Path(folder))
        return texts(Path(folder), "manifests/*")


def prepare_manifest(folder: Path) -> None:
    """Write a table, and the manifest of it."""
    (folder / "t.csv").write_bytes(table_csv()[0])
    open_dataset("d", DataSpec(layout="manifest", root="t.csv"), folder, folder / "manifests", Silent())


def read_manifest(folder: Path) -> None:
    """Open a data set whose kept manifest is damaged, and read everything that it lists."""
    (kept,) = folder.glob("manifests/*.parquet")
    shutil.copy(folder / "m.parquet", kept)
    found = open_dataset("d", DataSpec(layout="manifest", root="t.csv"), folder, folder / "manifests", Silent())
    for info in found.subsets():
        list(found.samples(info.subset, info.split))
        list(found.samples(info.subset, info.split, 2))


PAIRS = (b"name,subset,split,source,a,b,boxes\none,x,test,s,a.png,b.png,0:0:4:4;1:2:3:4\ntwo,x,val,s,a.png,b.png,\n",)


def read_pairs(folder: Path) -> None:
    """Read every pair that a table lists."""
    found = TablePairs(folder / "pairs.csv")
    assert found.digest
    for split in ("val", "test"):
        for subset in found.subsets(split):  # type: ignore[arg-type]
            for pair in found.pairs(subset, split):  # type: ignore[arg-type]
                found.read(pair)


def prepare_pairs(folder: Path) -> None:
    """Write the pictures that the table names."""
    from PIL import Image

    for name, picture in zip(("a", "b"), pictures(2), strict=True):
        Image.fromarray(picture).save(folder / f"{name}.png")


# --- runs


def prepare_runs(folder: Path) -> None:
    """Write runs of each kind of task that is compared."""
    scores = [0.1, 0.9, 0.4, 0.6, None, 0.2]
    detected(folder, "one", {"gan": scores, "vq": scores, "nature": scores})
    classified(folder, "classes", [0, 1, 2, 3], [0, 1, 2, 2])
    loaded(folder, "loads", [[0.01, 0.02, 0.03] * 8] * 3)


def runs() -> Sequence[bytes]:
    """Return the run.json of each."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        prepare_runs(Path(folder))
        return texts(Path(folder), "runs/*/run.json")


def compare_run(folder: Path) -> None:
    """Compare a run with those that it may be like."""
    after = open_side("damaged", folder)
    after.check_valid()
    kinds = {str(task.get("kind")) for task in after.tasks.values()}
    known = {"one": DETECTION, "classes": CLASSIFICATION, "loads": LOADS}
    for name, task in known.items():
        if task["kind"] in kinds or not kinds:
            compare(open_side(name, folder), after, Silent())
            compare(after, open_side(name, folder), Silent())


def ask_sql(folder: Path) -> None:
    """Ask every view at once."""
    query(folder, "SELECT runs.*, count(r.sample) FROM runs LEFT JOIN records AS r USING (run) GROUP BY ALL")


def load_run(folder: Path) -> None:
    """Read a run in Python."""
    harness.load_run(folder / "runs" / "damaged").to_pandas()


def show_runs(folder: Path) -> None:
    """Write the site of all runs."""
    build_site(folder, folder / "site", Silent())


def prepare_site(folder: Path) -> None:
    """Write a run with a report."""
    detected(folder, "damaged", {"gan": [0.1, 0.9], "nature": [0.2, 0.3]})
    write_report(report(board({"m.x": 0.9, "m.y": 0.5}), models=["m.x", "m.y"]), folder / "runs" / "damaged")


def reports() -> Sequence[bytes]:
    """Return a report as JSON."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        prepare_site(Path(folder))
        return texts(Path(folder), "runs/*/report.json")


def records() -> Sequence[bytes]:
    """Return parts of records."""
    from tempfile import TemporaryDirectory

    found = []
    for count in (1, 6, 300):
        with TemporaryDirectory() as folder:
            store = CellStore(Path(folder))
            store.append("ab" * 32, [Record(i, f"gan/{i}.png", f"s{i}", 1, [i / 9]) for i in range(count)])
            found += texts(Path(folder), "*/*/*.parquet")
    return found


def prepare_records(folder: Path) -> None:
    """Write a run whose one cell has the damaged part and a whole one."""
    prepare_runs(folder)
    whole = json.loads((folder / "runs" / "one" / "run.json").read_text())
    named = {name: "ab" * 32 for name in whole["cells"] if "/gan/" in name}
    (folder / "runs" / "damaged").mkdir()
    said = {**whole, "id": "damaged", "cells": {**whole["cells"], **named}}
    (folder / "runs" / "damaged" / "run.json").write_text(json.dumps(said))
    CellStore(folder / "cells").append("ab" * 32, [Record(0, "gan/0.png", "s0", 1, [0.5])])


def read_records(folder: Path) -> None:
    """Read the records, in Python and in SQL, and compare with them."""
    assert 0 in CellStore(folder / "cells").answered("ab" * 32), "the whole part is there in any case"
    load_run(folder)
    query(folder, "SELECT count(*) AS n, sum(label) AS s FROM records")
    compare(open_side("one", folder), open_side("damaged", folder), Silent())


TIMES = (
    json.dumps(
        {
            "machine_info": {"system": "Linux", "machine": "x86_64", "cpu": {"brand_raw": "c", "count": 2}},
            "benchmarks": [
                {"fullname": f"t.py::test_{name}", "stats": {"median": 0.01, "iqr": 0.001, "rounds": 9}}
                for name in "ab"
            ],
        }
    ).encode(),
)


def read_times(folder: Path) -> None:
    """Read a file of pytest-benchmark and compare it with a whole one."""
    (folder / "whole.json").write_bytes(TIMES[0])
    found, whole = read_benchmarks(folder / "times.json"), read_benchmarks(folder / "whole.json")
    list(benchmark_changes(whole, found, Noise()))
    list(benchmark_changes(found, whole, Noise()))


FACTS = {"system": "Linux x86_64", "processor": "test", "cores": "2"}

NOISE = (
    json.dumps(
        {
            "machine": FACTS,
            "seen": [{"runs": ["a", "b"], "place": "p", "figure": "p99", "log_ratio": 0.1, "variance": 0.01}],
        }
    ).encode(),
)


def read_machine(folder: Path) -> None:
    """Read what is known of a machine's noise."""
    read_noise(folder, FACTS).between("p99")


def found_manifest() -> Sequence[bytes]:
    """Return the manifest of found images."""
    from harness.store.found import COLUMNS

    row = {"path": "x/0.png", "seed": "test/gan/000.png", "white": "m.x", "searcher": "cw", "l2": "1.5", "label": "0"}
    row |= {"subset": "x", "split": "test"}
    return [f"{','.join(COLUMNS)}\n{','.join(row.get(name, '') for name in COLUMNS)}\n".encode()]


def prepare_found(folder: Path) -> None:
    """Write a run of a disagreement suite, and the image that it found."""
    data = put(folder / "data", {("test", "gan"): pictures(2), ("test", "nature"): pictures(2, 1)})
    task = {
        "kind": "disagreement",
        "name": "d",
        "data": "d",
        "pairs": [{"white": "m.x", "black": "m.y"}],
        "searchers": ["cw"],
    }
    spec = {
        "name": "s",
        "data": {"d": {"layout": "manifest", "root": str(data)}},
        "models": ["m.x", "m.y"],
        "tasks": [task],
    }
    said = {"id": "r", "plan": "p", "suite": str(folder / "s.yaml"), "spec": spec, "status": "complete"}
    write_atomic(
        folder / "runs" / "r" / "run.json", json.dumps({**said, "started": "2026-01-01T00:00:00+00:00"}).encode()
    )
    from PIL import Image

    (folder / "runs" / "r" / "found" / "x").mkdir(parents=True)
    Image.fromarray(pictures(1)[0]).save(folder / "runs" / "r" / "found" / "x" / "0.png")


def read_found(folder: Path) -> None:
    """Pair found images with their seeds, read each pair, and list them as another suite does."""
    list(table(folder / "runs" / "r" / "found" / "manifest.csv"))
    for pair in pair_found(folder / "runs", "r", Silent()).pairs:
        try:
            pair.read()
        except harness.errors.ImageError:
            continue


# --- arrays


def banks() -> Sequence[bytes]:
    """Return a bank of fingerprints, stored and compressed."""
    values = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    centres = np.array([0.1, 0.2], np.float32)
    bank = Bank(("a", "b"), values, centres, -centres)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, names=np.array(bank.names), fingerprints=values, mu_real=centres, mu_fake=-centres)
    return [bank.to_bytes(), buffer.getvalue()]


def histories() -> Sequence[bytes]:
    """Return a history of a network that fits a gray."""
    from tempfile import TemporaryDirectory

    outputs = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float16)
    found = History("nearest", 8, 0, (0, 3), outputs, np.full(4, 0.5, np.float32))
    with TemporaryDirectory() as folder:
        found.save(Path(folder) / "h.npz")
        return texts(Path(folder), "*.npz")


def prepare_reference(folder: Path) -> None:
    """Fit a reference of a few images."""
    data = put(folder / "data", {("train", "nature"): pictures(6)})
    made = fit_reference(
        ReferenceSpec(data="pictures", space="rgb"), opened(data), Preprocess(crop=SIDE), folder / "kept"
    )
    made.folder.rename(folder / "reference")


def references(name: str) -> Sequence[bytes]:
    """Return one file of a reference."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        prepare_reference(Path(folder))
        return texts(Path(folder), f"reference/{name}")


def ask_reference(folder: Path) -> None:
    """Open a reference and ask it; whoever changed its features changed their digest too."""
    place = folder / "reference"
    about = place / "reference.json"
    try:
        said = json.loads(about.read_bytes())
        said["files"] = {name: hashlib.sha256((place / name).read_bytes()).hexdigest() for name in said["files"]}
        about.write_text(json.dumps(said))
    except (ValueError, TypeError, KeyError, OSError):
        pass
    found = open_reference(place)
    images = pictures(2, seed=5)
    found.artifacts(np.zeros((2, *found.about.shape), np.float32), images)


def conclusions() -> Sequence[bytes]:
    """Return a kept conclusion."""
    return [dump((report(board({"m.x": 0.9})), ("a reason",)))]


KINDS = (
    Kind(
        "suite",
        "suite.yaml",
        lambda: texts(SUITES, "*.yaml"),
        YAML,
        lambda f: load_suite(f / "suite.yaml", (), {}),
        linked("claims"),
    ),
    Kind("claims", "claims.csv", lambda: CLAIMS, lines, read_tables),
    Kind("script", "s.yaml", lambda: [json.dumps(SCRIPT).encode()], YAML, lambda f: read_script(str(f / "s.yaml"))),
    Kind("table", "t.csv", table_csv, lines, lambda f: list(table(f / "t.csv"))),
    Kind("table in Parquet", "t.parquet", lambda: [parquet(ROWS)], damaged, lambda f: list(table(f / "t.parquet"))),
    Kind("manifest", "m.parquet", manifests, damaged, read_manifest, prepare_manifest),
    Kind("pairs", "pairs.csv", lambda: PAIRS, lines, read_pairs, prepare_pairs),
    Kind(
        "config.pbtxt",
        "toy.one/config.pbtxt",
        configs,
        damage_config,
        lambda f: load_entry(f / "toy.one"),
        prepare_entry,
    ),
    Kind("ONNX", "model.onnx", models, damaged, read_model),
    Kind("run compared", "runs/damaged/run.json", runs, JSON, compare_run, prepare_runs),
    Kind("run in SQL", "runs/damaged/run.json", runs, JSON, ask_sql, prepare_runs),
    Kind("run in Python", "runs/damaged/run.json", runs, JSON, load_run, prepare_runs),
    Kind("run in the site", "runs/damaged/run.json", runs, JSON, show_runs, prepare_site),
    Kind("report", "runs/damaged/report.json", reports, JSON, show_runs, prepare_site),
    Kind("records", f"cells/ab/{'ab' * 32}/000000001-x.parquet", records, damaged, read_records, prepare_records),
    Kind("pytest-benchmark", "times.json", lambda: TIMES, JSON, read_times),
    Kind("noise", str(noise_file(Path(), FACTS)), lambda: NOISE, JSON, read_machine),
    Kind("found manifest", "runs/r/found/manifest.csv", found_manifest, lines, read_found, prepare_found),
    Kind("bank", "b.npz", banks, damaged, lambda f: Bank.load(f / "b.npz")),
    Kind("history", "h.npz", histories, damaged, lambda f: read_history(f / "h.npz")),
    Kind(
        "reference",
        "reference/reference.json",
        partial(references, "reference.json"),
        JSON,
        ask_reference,
        prepare_reference,
    ),
    Kind(
        "features",
        "reference/features.npy",
        partial(references, "features.npy"),
        damaged,
        ask_reference,
        prepare_reference,
    ),
    Kind("conclusion", "c.json", conclusions, JSON, lambda f: load((f / "c.json").read_bytes())),
)
