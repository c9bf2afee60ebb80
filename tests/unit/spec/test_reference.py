"""The suite reference: every key of the schema, in words."""

import re
from typing import Literal

from pydantic import PositiveInt

from harness.frozen import Frozen
from harness.images.degrade import DEGRADATIONS
from harness.named import Named
from harness.spec.reference import named_reference, schema_reference, words_reference
from harness.spec.suite import Suite
from harness.spec.tasks import TASKS


class Inner(Frozen):
    """What lies inside.

    Attributes:
        depth, width: in <pixels> of the `image`.
    """

    depth: PositiveInt
    width: int | None = None


class Outer(Frozen):
    """What holds it | whole.

    Attributes:
        kinds: which, and why it
            takes two lines; see :class:`harness.card.Card`.
        inner: by name.
    """

    kinds: tuple[Literal["a", "b"], ...] = ("a",)
    inner: dict[str, Inner] = {}


class Drill(Named):
    """Makes holes.

    Attributes:
        turns: of it.
    """

    name = "drill"
    turns: PositiveInt = 3
    left: bool


def rows(text: str) -> dict[str, list[str]]:
    """Return the cells of a page's tables by their first."""
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("| `")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_types_defaults_and_meanings_are_words() -> None:
    text = schema_reference(Outer.model_json_schema())
    assert "What holds it \\| whole." in text
    assert rows(text) == {
        "`kinds`": ["list of: `a`, `b`", '`["a"]`', "which, and why it takes two lines; see `Card`."],
        "`inner`": ["mapping of names to: [Inner](#inner)", "`{}`", "by name."],
        "`depth`": ["integer, > 0", "required", "in &lt;pixels> of the `image`."],
        "`width`": ["integer or null", "", "in &lt;pixels> of the `image`."],
    }


def test_things_called_by_name_state_their_parameters() -> None:
    found = rows(named_reference("Tools", {"drill": Drill}))
    assert found == {"`drill`": ["`turns=3` integer, > 0<br>`left` boolean", "Makes holes."]}
    assert rows(words_reference("Words", {"a": "one * two"})) == {"`a`": ["one \\* two"]}


def test_every_key_of_a_task_is_explained() -> None:
    text = schema_reference(Suite.model_json_schema())
    for kind, task in TASKS.items():
        section = text.split(f"## Task `{kind}` ")[1].split("\n## ")[0]
        said = rows(section)
        assert {key.strip("`") for key in said} == set(task.model_fields) - {"kind"}
        assert [key for key, cells in said.items() if not cells[-1] and key != "`name`"] == []


def test_a_default_with_a_kind_is_called_by_it() -> None:
    section = schema_reference(Suite.model_json_schema()).split("## Task `detection` ")[1].split("\n## ")[0]
    assert rows(section)["`threshold`"][1] == '`"card"`'


def test_every_type_that_is_linked_has_its_place() -> None:
    text = schema_reference(Suite.model_json_schema())
    places = set(re.findall(r"\{#(\w+)\}", text)) | {name.lower() for name in re.findall(r"^## (\w+)$", text, re.M)}
    assert set(re.findall(r"\(#(\w+)\)", text)) <= places


def test_every_degradation_stands_with_its_parameters() -> None:
    found = rows(named_reference("Degradations", DEGRADATIONS))
    assert {key.strip("`") for key in found} == set(DEGRADATIONS)
    assert found["`jpeg`"][0] == "`quality` integer, ≥ 1, ≤ 100<br>`subsampling=4:2:0` `4:4:4`, `4:2:2`, `4:2:0`"
