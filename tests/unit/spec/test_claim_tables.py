import csv
import io
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.errors import SuiteError
from harness.images.degrade import parse_degradation
from harness.spec.claim_tables import parse_claims, read_claims
from harness.spec.load import load_suite
from harness.spec.report import ClaimSpec, ClaimTable

SUITES = Path(__file__).parents[3] / "suites"

TRAINED = ClaimTable(file="x.csv", kind="trained_on", trained_on="sd14", source="a paper")
CROSS = ClaimTable(file="x.csv", kind="cross", architecture="resnet50", source="a paper")

SHIPPED = {
    "genimage_resnet50_cross": {"kind": "cross", "architecture": "resnet50"},
    "genimage_trained_on_sd14": {"kind": "trained_on", "trained_on": "sd14"},
    "genimage_mean_of_eight_models": {"kind": "mean"},
    "genimage_degraded_sd14": {"kind": "degraded", "trained_on": "sd14"},
    "dif_in_domain": {"kind": "in_domain", "architecture": "dif"},
}

PRINTED = {
    "genimage_resnet50_cross": [71.1, 72.1, 71.7, 70.4, 60.2, 71.6, 59.7, 58.6],
    "genimage_trained_on_sd14": [72.1, 71.6, 74.8, 64.2, 68.8, 68.7, 69.9],
    "genimage_mean_of_eight_models": [66.9, 67.6, 70.3, 61.7, 65.1, 64.6, 64.7],
    "genimage_degraded_sd14": [70.6, 69.8, 67.0, 78.3, 50.1, 62.1, 82.2],
}
"""The averages printed beside the tables; the files leave them out."""


def shipped(name: str) -> tuple[ClaimSpec, ...]:
    table = ClaimTable.model_validate({"file": f"claims/{name}.csv", "source": name, **SHIPPED[name]})
    return read_claims(table, SUITES)


class TestKinds:
    def test_trained_on(self) -> None:
        found = parse_claims(TRAINED, "architecture,gan,vq\nresnet50,54.9,99.9\n", "x.csv")
        expected = {
            "model": "resnet50.*",
            "trained_on": "sd14",
            "metric": "balanced_accuracy",
            "source": "a paper",
        }
        assert found == (
            ClaimSpec(subset="gan", value=0.549, **expected),
            ClaimSpec(subset="vq", value=0.999, **expected),
        )

    def test_mean_is_over_detectors_of_all_columns(self) -> None:
        table = ClaimTable(file="x.csv", kind="mean", source="s")
        found = parse_claims(table, "architecture,gan,vq\nspec,50,60\n", "x.csv")
        assert [(item.trained_on, item.subset, item.value) for item in found] == [
            (("gan", "vq"), "gan", 0.5),
            (("gan", "vq"), "vq", 0.6),
        ]

    def test_degraded_is_of_the_images_trained_on(self) -> None:
        table = ClaimTable(file="x.csv", kind="degraded", trained_on="sd14", metric="auroc", source="s")
        (found,) = parse_claims(table, "architecture,jpeg quality=65\nspec,50\n", "x.csv")
        assert (found.subset, found.trained_on, found.metric) == ("sd14", ("sd14",), "auroc")
        assert found.degradation == parse_degradation("jpeg quality=65").id

    def test_cross(self) -> None:
        found = parse_claims(CROSS, "trained_on,gan,vq\nvq,50,100\n", "x.csv")
        assert [(item.model, item.trained_on, item.subset) for item in found] == [
            ("resnet50.*", ("vq",), "gan"),
            ("resnet50.*", ("vq",), "vq"),
        ]

    def test_in_domain(self) -> None:
        table = ClaimTable(file="x.csv", kind="in_domain", architecture="dif", source="s")
        found = parse_claims(table, "trained_on,accuracy\ngan,50\nvq,60\n", "x.csv")
        assert [(item.model, item.trained_on, item.subset) for item in found] == [
            ("dif.*", ("gan",), "gan"),
            ("dif.*", ("vq",), "vq"),
        ]


NAMES = st.text(st.characters(categories=("L", "N"), include_characters="_ ,\"'"), min_size=1, max_size=8).map(
    str.strip
)
UNIQUE = st.lists(NAMES.filter(bool), min_size=1, max_size=5, unique=True)


@given(UNIQUE, UNIQUE, st.data())
def test_every_cell_is_a_claim_again(rows: list[str], columns: list[str], data: st.DataObject) -> None:
    cell = st.none() | st.integers(0, 1000).map(lambda tenths: tenths / 10)
    columns = [name for name in columns if name != "trained_on"] or ["x"]
    cells = [[data.draw(cell) for _ in columns] for _ in rows]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(
        [["trained_on", *columns], *([row, *values] for row, values in zip(rows, cells, strict=True))]
    )
    found = parse_claims(CROSS, out.getvalue(), "x.csv")
    assert [(item.trained_on, item.subset, round(item.value * 100, 9)) for item in found] == [
        ((row,), column, value)
        for row, values in zip(rows, cells, strict=True)
        for column, value in zip(columns, values, strict=True)
        if value is not None
    ]
    assert all(0 <= item.value <= 1 for item in found)


@given(st.text())
def test_any_text_is_claims_or_one_error_that_names_the_file(text: str) -> None:
    for table in (TRAINED, CROSS):
        try:
            assert all(0 <= item.value <= 1 for item in parse_claims(table, text, "x.csv"))
        except SuiteError as error:
            assert str(error).startswith("x.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"x\.csv: expected a heading and a row, got 0 lines"),
        ("architecture,gan\n", r"x\.csv: expected a heading and a row"),
        ("detector,gan\nspec,5\n", r"x\.csv:1: expected a first column architecture, got 'detector'"),
        ("architecture\nspec\n", r"x\.csv:1: expected two or more columns"),
        ("architecture,gan,gan\nspec,5,6\n", r"x\.csv:1: .*each with a name of its own"),
        ("architecture,gan,\nspec,5,6\n", r"x\.csv:1: .*each with a name of its own"),
        ("architecture,gan\nspec\n", r"x\.csv:2: expected 2 cells, as in the heading, got 1 cells"),
        ("architecture,gan\n\nspec,5\nspec,6\n", r"x\.csv:4: expected another architecture in each row, got 'spec'"),
        ("architecture,gan\n,5\n", r"x\.csv:2: expected another architecture"),
        ("architecture,gan\nResNet-50,5\n", r"x\.csv:2: expected an architecture, got 'ResNet-50'"),
        ("architecture,gan\n*,5\n", r"x\.csv:2: expected an architecture, got '\*'"),
        ("architecture,gan\nspec,100.1\n", r"x\.csv:2: column gan: expected a percentage in 0\.\.100, got '100\.1'"),
        ("architecture,gan\nspec,-1\n", r"column gan: .*'-1'"),
        ("architecture,gan\nspec,nan\n", r"column gan: .*'nan'"),
        ("architecture,gan\nspec,high\n", r"column gan: .*'high'"),
        ('architecture,gan\n"spec,5\n', r"x\.csv:2: expected CSV"),
    ],
)
def test_errors_name_the_line(text: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        parse_claims(TRAINED, text, "x.csv")


def test_a_column_that_is_no_degradation_is_named() -> None:
    table = ClaimTable(file="x.csv", kind="degraded", trained_on="sd14", source="s")
    with pytest.raises(SuiteError, match=r"x\.csv:2: degradation: .*Did you mean 'jpeg'"):
        parse_claims(table, "architecture,jpg quality=65\nspec,50\n", "x.csv")


class TestFiles:
    @pytest.mark.parametrize("file", ["../x.csv", "/etc/hostname", "a/../../x.csv", "link.csv", "loop.csv"])
    def test_only_inside_the_suites_folder(self, tmp_path: Path, file: str) -> None:
        folder = tmp_path / "suites"
        folder.mkdir()
        (tmp_path / "x.csv").write_text("architecture,gan\nspec,5\n")
        (folder / "link.csv").symlink_to(tmp_path / "x.csv")
        (folder / "loop.csv").symlink_to(folder / "loop.csv")
        with pytest.raises(SuiteError, match=r"a file inside the suite's folder|a readable CSV file"):
            read_claims(TRAINED.model_copy(update={"file": file}), folder)

    def test_a_missing_file_has_a_hint(self, tmp_path: Path) -> None:
        (tmp_path / "claims").mkdir()
        (tmp_path / "claims" / "genimage.csv").write_text("")
        with pytest.raises(SuiteError, match=r"FileNotFoundError\. Did you mean 'claims/genimage\.csv'\?"):
            read_claims(TRAINED.model_copy(update={"file": "claims/genimag.csv"}), tmp_path)

    @pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
    def test_what_is_no_text_is_refused(self, tmp_path: Path, content: bytes | None) -> None:
        if content is None:
            (tmp_path / "x.csv").mkdir()
        else:
            (tmp_path / "x.csv").write_bytes(content)
        with pytest.raises(SuiteError, match="a readable CSV file"):
            read_claims(TRAINED, tmp_path)


class TestShipped:
    def test_every_file_is_known(self) -> None:
        assert {path.stem for path in (SUITES / "claims").glob("*.csv")} == {*SHIPPED, "manifpt_attribution"}

    @pytest.mark.parametrize("name", sorted(PRINTED))
    def test_rows_come_to_the_printed_averages(self, name: str) -> None:
        rows: dict[object, list[float]] = {}
        for claim in shipped(name):
            rows.setdefault(claim.trained_on if SHIPPED[name]["kind"] == "cross" else claim.model, []).append(
                claim.value
            )
        assert [100 * sum(row) / len(row) for row in rows.values()] == pytest.approx(PRINTED[name], abs=0.1)

    def test_tables_agree_where_they_overlap(self) -> None:
        cross = {item.subset: item.value for item in shipped("genimage_resnet50_cross") if item.trained_on == ("sd14",)}
        table = {item.subset: item.value for item in shipped("genimage_trained_on_sd14") if item.model == "resnet50.*"}
        assert cross == table

    def test_thirteen_fingerprints(self) -> None:
        claims = shipped("dif_in_domain")
        assert len(claims) == 13
        assert round(100 * sum(item.value for item in claims) / 13, 1) == 90.9


class TestSuite:
    def suite(self, folder: Path, table: str) -> Path:
        (folder / "x.csv").write_text("architecture,gan\nspec,5\n")
        path = folder / "suite.yaml"
        path.write_text(
            "name: demo\ndata: {d: {layout: miniature}}\nmodels: [dif.*]\ntasks: [{data: d}]\n"
            "report:\n  claims:\n"
            "    - {model: m, subset: gan, value: 0.5, trained_on: gan, degradation: {blur: {sigma: 3}}}\n"
            f"  claim_tables:\n    - {table}\n"
        )
        return path

    def test_claims_of_tables_come_after_the_suites_own(self, tmp_path: Path) -> None:
        path = self.suite(tmp_path, "{file: x.csv, kind: trained_on, trained_on: sd14, source: s}")
        first, second = load_suite(path, (), {}).report.claims
        assert (first.trained_on, first.degradation) == (("gan",), parse_degradation("blur sigma=3").id)
        assert (second.model, second.value) == ("spec.*", 0.05)

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ("{file: x.csv, kind: trained_on, source: s}", r":9: .*kind trained_on needs `trained_on: \.\.\.`"),
            ("{file: x.csv, kind: cross, source: s}", r":9: .*kind cross needs `architecture"),
            ("{file: x.csv, kind: mean, trained_on: gan, source: s}", r":9: .*kind mean takes no `trained_on`"),
            ("{file: x.csv, kind: men, source: s}", r":9: report\.claim_tables\.0\.kind: expected"),
            ("{file: x.csv, kind: mean}", r":9: report\.claim_tables\.0\.source: expected a value, got nothing"),
            (
                "{file: x.csv, kind: mean, source: s, column: 1}",
                r":9: .*column: expected a known key, got .*(Choose|Did)",
            ),
            ("{file: y.csv, kind: mean, source: s}", r"claims .*y\.csv: expected a readable CSV file"),
        ],
    )
    def test_complaints(self, tmp_path: Path, table: str, message: str) -> None:
        with pytest.raises(SuiteError, match=message):
            load_suite(self.suite(tmp_path, table), (), {})

    def test_shipped_suites_name_shipped_tables_as_they_are(self) -> None:
        for path in SUITES.glob("*.yaml"):
            said = yaml.safe_load(path.read_text(encoding="utf-8")).get("report", {})
            for table in said.get("claim_tables", ()):
                assert SHIPPED[Path(table["file"]).stem].items() <= table.items()


def test_a_claim_is_a_fraction() -> None:
    with pytest.raises(ValidationError):
        ClaimSpec(model="m", subset="gan", value=99.0)
