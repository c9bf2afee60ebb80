from typing import Annotated

import pytest
from pydantic import Field, PositiveInt

from harness.errors import SuiteError
from harness.named import Named, read_named


class Drill(Named):
    name = "drill"

    width: Annotated[float, Field(gt=0)] = 6.0
    turns: PositiveInt
    left: bool = False
    bit: str | None = None


class Rest(Named):
    name = "rest"


KINDS = {"drill": Drill, "rest": Rest}


def read(value):
    return read_named(value, KINDS, "tool", "drill turns=3")


@pytest.mark.parametrize(
    "value",
    [
        "drill turns=3",
        "drill turns=3 width=6",
        "drill width=6.0 left=false turns=3",
        {"drill": {"turns": 3}},
        {"drill": {"turns": 3, "width": 6}},
    ],
)
def test_one_thing_has_one_identity(value):
    assert read(value) == Drill(turns=3)
    assert read(value).id == "drill width=6 turns=3 left=false"


@pytest.mark.parametrize("value", ["rest", {"rest": {}}, {"rest": None}])
def test_what_takes_nothing_is_its_name(value):
    assert read(value).id == "rest"


@pytest.mark.parametrize(
    "made",
    [
        Drill(turns=1),
        Drill(turns=10, width=0.1, left=True, bit="x"),
        Drill(turns=2, width=1e-5),
        Drill(turns=1, width=1e22),
    ],
)
def test_an_identity_is_read_back(made):
    assert read(made.id) == made
    assert read(made.id).id == made.id


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("dril turns=3", "Did you mean 'drill'"),
        ("", "tool: expected a known one, got ''"),
        ("drill turn=3", "Did you mean 'turns'"),
        ("drill turns", "expected key=value words"),
        ("drill", "tool drill: turns: expected"),
        ("drill turns=0", "tool drill: turns: expected greater than 0, got '0'"),
        ("drill turns=3 width=wide", "tool drill: width: expected a valid number"),
        ("rest long=true", "It takes none"),
        ({"drill": {"turns": "3"}}, "tool drill: turns: expected"),
        ({"drill": 3}, "tool drill: expected parameters by name, got 3"),
        ({"drill": {"turns": 3}, "rest": {}}, "tool: expected a name or"),
        (3, "Write e.g. drill turns=3"),
    ],
)
def test_what_is_wrong_is_said(value, says):
    with pytest.raises(SuiteError) as raised:
        read(value)
    assert says in str(raised.value)
