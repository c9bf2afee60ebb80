from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import SuiteError
from harness.names import did_you_mean
from harness.spec.source import override, read_source


def write(folder: Path, text: str) -> Path:
    path = folder / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_lines_of_keys_and_items_are_known(tmp_path: Path) -> None:
    source = read_source(write(tmp_path, "a: 1\nb:\n  - x\n  - {c: 2}\n"))
    assert source.data == {"a": 1, "b": ["x", {"c": 2}]}
    assert source.locate(("b", 1, "c")).endswith("suite.yaml:4")
    assert source.locate(("b", 7, "nothing")).endswith("suite.yaml:2")


def test_duplicate_keys_name_both_lines(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"suite.yaml:3: .*'a' stands in line 1"):
        read_source(write(tmp_path, "a: 1\nb: 2\na: 3\n"))


@pytest.mark.parametrize(
    ("text", "environ", "value"),
    [
        ("${A}", {"A": "x"}, "x"),
        ("${A:-d}/e", {}, "d/e"),
        ("${A:-d}", {"A": ""}, "d"),
        ("${A:-}", {}, ""),
        ("${A:-${B}/c}", {"B": "b"}, "b/c"),
        ("${A:-${B}/c}", {"A": "a"}, "a"),
        ("cost: $5 {x}", {}, "cost: $5 {x}"),
    ],
)
def test_variables(tmp_path: Path, text: str, environ: dict[str, str], value: str) -> None:
    assert read_source(write(tmp_path, f'k: "{text}"'), environ).data == {"k": value}


def test_a_value_from_the_environment_is_not_expanded_again(tmp_path: Path) -> None:
    assert read_source(write(tmp_path, "k: ${A}"), {"A": "${B}"}).data == {"k": "${B}"}


def test_an_unset_variable_says_how_to_set_it(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"suite.yaml:2: \$\{NOPE\}.*export NOPE="):
        read_source(write(tmp_path, "a: 1\nb: ${NOPE}\n"), {})


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        "- 1\n",
        "a: [1\n",
        "a: !!python/object/apply:os.system [id]\n",
        "a: &x [*x]\n",
        BOMB,
        "? [1]\n: 2\n",
        "a: ${B:-c\n",
    ],
)
def test_what_is_no_suite_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SuiteError):
        read_source(write(tmp_path, text), {})


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path, "a: 1")
    with pytest.raises(SuiteError, match=r"Did you mean 'suite.yaml'"):
        read_source(tmp_path / "siute.yaml")


def test_overrides_walk_mappings_and_lists(tmp_path: Path) -> None:
    source = read_source(write(tmp_path, "a: {b: [1, {c: 2}]}"))
    changed = override(source, ["a.b.1.c=[3, x]", "new.key=true"])
    assert changed.data == {"a": {"b": [1, {"c": [3, "x"]}]}, "new": {"key": True}}
    assert source.data == {"a": {"b": [1, {"c": 2}]}}


@pytest.mark.parametrize("setting", ["a", "=1", "a.b.9=1", "a.b.x=1", "s.t=1", "a={"])
def test_overrides_that_lead_nowhere(tmp_path: Path, setting: str) -> None:
    with pytest.raises(SuiteError, match="--set"):
        override(read_source(write(tmp_path, "a: {b: [1]}\ns: text")), [setting])


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "suite.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            assert isinstance(read_source(path, {}).data, dict)
        except SuiteError as error:
            assert str(path) in str(error)


def test_did_you_mean() -> None:
    assert did_you_mean("modles", ["models", "data"]) == "Did you mean 'models'?"
    assert "models" in did_you_mean("zzz", ["models", "data"])
