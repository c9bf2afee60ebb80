from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import SuiteError
from harness.spec.gate import FIGURES, PER_SUBSET, Expectation, parse_expectation, parse_gate
from harness.spec.load import load_suite
from harness.spec.suite import Suite

UNITS = {"share": ["pt", ""], "level": ["%"], "count": ["%", ""], "latency": ["%"]}


@st.composite
def expectations(draw: st.DrawFn) -> Expectation:
    figure = draw(st.sampled_from(sorted(FIGURES)))
    unit = draw(st.sampled_from(UNITS[FIGURES[figure]]))
    whole = FIGURES[figure] == "count" and not unit
    most = {"pt": 100, "%": 100, "": 1}[unit]
    bound = draw(st.integers(0, 10**9) if whole else st.decimals(0, most, places=6))
    return Expectation(figure=figure, per_subset=draw(st.booleans()), bound=float(bound), unit=unit)


@given(expectations())
def test_an_expectation_reads_back_as_itself(expectation: Expectation) -> None:
    assert parse_expectation(str(expectation)) == expectation
    assert parse_gate({expectation.key: expectation.said}) == (expectation,)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert parse_expectation(str(parse_expectation(text))) == parse_expectation(text)
    except SuiteError as error:
        assert "gate" in str(error)


@pytest.mark.parametrize(
    ("text", "said", "limit"),
    [
        ("accuracy: -0.50pt", "accuracy: -0.5pt", 0.005),
        ("auroc:-0.010", "auroc: -0.01", 0.01),
        ("p99: +10%", "p99: +10%", 0.1),
        (f"top1{PER_SUBSET}: -2pt", "top1 per subset: -2pt", 0.02),
        ("flips: 0", "flips: 0", 0),
        ("flips: 0.5%", "flips: 0.5%", 0.005),
        ("agreement: 99%", "agreement: 99%", 0.99),
        ("failures: 12", "failures: 12", 12),
    ],
)
def test_what_is_written(text: str, said: str, limit: float) -> None:
    found = parse_expectation(text)
    assert str(found) == said
    assert found.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acuracy: -0.5pt", "Did you mean 'accuracy'"),
        ("accuracy: +0.5pt", "accuracy: -0.5pt or accuracy: -0.01"),
        ("accuracy: -0.5%", "a bound that fits"),
        ("auroc: -2", "a bound that fits"),
        ("p99: -10%", r"p99: \+10%"),
        ("p99: 10ms", r"p99: \+10%"),
        ("flips: 0.5", "a bound that fits"),
        ("agreement: 101%", "a bound that fits"),
        ("flips: ٣", "a bound that fits"),
        ("flips", "FIGURE: BOUND"),
    ],
)
def test_what_can_not_be_meant_is_refused(text: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        parse_expectation(text)


SUITE = """\
name: demo
data:
  d: {layout: miniature}
models: [dif.*]
tasks:
  - kind: detection
    data: d
gate:
  accuracy: -0.50pt
  auroc: -0.00001
  flips: 0
"""


def test_a_suites_gate_is_normalised_and_later_words_hold(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE, encoding="utf-8")
    gate = load_suite(path, ("gate.flips=3",), {}).gate
    assert gate == {"accuracy": "-0.5pt", "auroc": "-0.00001", "flips": "3"}
    assert [str(item) for item in parse_gate(gate, ("flips: 1%",))][-1] == "flips: 1%"
    jsonschema.validate({"gate": gate}, {**Suite.model_json_schema(), "required": []})
    with pytest.raises(SuiteError, match=r"suite\.yaml:\d+: gate: .*Did you mean 'flips'"):
        load_suite(path, ("gate={flip: 0}",), {})
