"""Reads YAML into plain data that remembers the line of every key; knows nothing of suites."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.errors import SuiteError, problem
from harness.names import did_you_mean

KeyPath = tuple[str | int, ...]
"""Where a value lies: mapping keys and list indices from the top."""

STANDARD = "tag:yaml.org,2002:"

PLAIN = ("str", "int", "float", "bool", "null", "seq", "map", "merge", "timestamp", "value")

MOST_NODES = 50_000

MOST_BYTES = 1 << 18
"""Largest file that is read."""

LONGEST = 2000
"""Characters of the longest text that variables are replaced in."""

_UNFIT = (yaml.YAMLError, ValueError, ArithmeticError, LookupError, AttributeError, TypeError)
"""What YAML's own constructors raise on text that is no value of its tag: ``2001-99-99``, ``!!bool perhaps``."""

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<rest>:-|\})")


@dataclass(frozen=True)
class Source:
    """Parsed YAML.

    Attributes:
        path: the file it came from.
        data: plain dicts, lists and scalars, variables replaced.
        lines: 1-based line of every key and list item.
    """

    path: Path
    data: dict[str, Any]
    lines: Mapping[KeyPath, int] = field(default_factory=dict)

    def locate(self, where: Sequence[str | int]) -> str:
        """Return ``file:line`` of a key path, or of its nearest parent that stands in the file."""
        key = tuple(where)
        while key and key not in self.lines:
            key = key[:-1]
        line = self.lines.get(key)
        return f"{self.path}:{line}" if line else str(self.path)


def read_source(path: Path, environ: Mapping[str, str] = os.environ) -> Source:
    """Read a YAML mapping; ``${NAME:-default}`` in any string is replaced from ``environ``.

    Raises:
        SuiteError: no such file, bad YAML, a duplicate key, a variable without value, or no mapping at the top.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        text = content.decode("utf-8")
    except (OSError, ValueError) as error:
        near = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise SuiteError(
            problem(str(path), "a readable suite file", type(error).__name__, did_you_mean(path.name, near))
        ) from error
    if len(content) > MOST_BYTES:
        raise SuiteError(problem(str(path), f"at most {MOST_BYTES:,} bytes", "more", "Take another file"))
    return parse_source(text, path, environ)


def parse_source(text: str, path: Path, environ: Mapping[str, str]) -> Source:
    """Read the text of a YAML mapping as :func:`read_source` does; ``path`` is what complaints call it."""
    reader = _Reader(path, environ)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = {} if node is None else reader.value(node, ())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        detail = getattr(error, "problem", None) or str(error)
        raise SuiteError(problem(where, "valid YAML", detail, "Check the indentation and quotes there")) from error
    except RecursionError as error:
        raise SuiteError(
            problem(str(path), "YAML nested at most a few levels", "one too deep", "Flatten it")
        ) from error
    if not isinstance(data, dict):
        raise SuiteError(problem(str(path), "a mapping at the top", type(data).__name__, "Start with `name: ...`"))
    return Source(path, data, reader.lines)


def override(source: Source, settings: Sequence[str]) -> Source:
    """Return the source with ``a.b.0.c=value`` settings applied; values are YAML.

    Raises:
        SuiteError: a setting without ``=``, one that walks through a scalar or past a list's end, or a NUL anywhere.
    """
    data = _copy(source.data)
    for setting in settings:
        dotted, separator, raw = setting.partition("=")
        if not separator or not dotted:
            raise SuiteError(problem(f"--set {setting}", "KEY.KEY=VALUE", "no '='", "Write e.g. --set seed=1"))
        try:
            value = yaml.safe_load(raw)
        except (*_UNFIT, RecursionError) as error:
            raise SuiteError(problem(f"--set {setting}", "a YAML value", repr(raw), "Quote it")) from error
        _assign(data, dotted.split("."), value, setting)
    if (where := _nul(data)) is not None:
        what = f"{source.locate(where)}: {'.'.join(map(str, where))}"
        raise SuiteError(problem(what, "text that a path or a name can hold", "a NUL in it", "Remove it"))
    return Source(source.path, data, source.lines)


class _Reader:
    """Turns composed YAML nodes into plain data, noting lines and refusing duplicate keys."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self.path = path
        self.environ = environ
        self.lines: dict[KeyPath, int] = {}
        self._scalars = yaml.constructor.SafeConstructor()
        self._open: set[int] = set()
        self._nodes = 0

    def value(self, node: yaml.Node, where: KeyPath) -> Any:
        self.lines.setdefault(where, node.start_mark.line + 1)
        self._nodes += 1
        if self._nodes > MOST_NODES:
            got = "more, by aliases of aliases"
            raise SuiteError(problem(self._at(node), f"at most {MOST_NODES:,} values", got, "Write it out"))
        if node.tag.removeprefix(STANDARD) not in PLAIN:
            raise SuiteError(problem(self._at(node), "plain YAML", f"the tag {node.tag}", "Remove the tag"))
        if isinstance(node, yaml.ScalarNode):
            try:
                scalar = self._scalars.construct_object(node, deep=True)
            except _UNFIT as error:
                got = repr(node.value[:60])
                raise SuiteError(problem(self._at(node), f"a value of {node.tag}", got, "Quote it")) from error
            return self._expand(scalar, node) if isinstance(scalar, str) else scalar
        if id(node) in self._open:
            raise SuiteError(problem(self._at(node), "a finite tree", "an alias to its own parent", "Remove the alias"))
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(child, (*where, index)) for index, child in enumerate(node.value)]
            assert isinstance(node, yaml.MappingNode)
            return self._mapping(node, where)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, where: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                raise SuiteError(problem(self._at(key_node), "a plain key", "a nested one", "Write `key: value`"))
            if key in result:
                first = self.lines[(*where, key)]
                raise SuiteError(
                    problem(
                        self._at(key_node), f"each key once, {key!r} stands in line {first}", "it again", "Keep one"
                    )
                )
            self.lines[(*where, key)] = key_node.start_mark.line + 1
            result[key] = self.value(value_node, (*where, key))
        return result

    def _expand(self, text: str, node: yaml.Node) -> str:
        """Replace ``${NAME}`` and ``${NAME:-default}``; a default may hold variables, read only where it is used."""
        if len(text) > LONGEST and _VARIABLE.search(text):
            do = "Give the whole text in one variable"
            raise SuiteError(problem(self._at(node), f"at most {LONGEST:,} characters around variables", "more", do))
        done = ""
        while match := _VARIABLE.search(text):
            name, value, default = match["name"], self.environ.get(match["name"]), None
            done, text = done + text[: match.start()], text[match.end() :]
            if match["rest"] == ":-":
                default, text = self._default(text, node)
            if not value and default is None:
                raise SuiteError(
                    problem(
                        f"{self._at(node)}: ${{{name}}}",
                        "the environment variable to be set",
                        "nothing",
                        f"Set it (export {name}=...) or give a default: ${{{name}:-...}}",
                    )
                )
            done += value or self._expand(default or "", node)
        return done + text

    def _default(self, text: str, node: yaml.Node) -> tuple[str, str]:
        """Split what follows ``:-`` at the brace that closes it."""
        depth = 1
        for index, letter in enumerate(text):
            depth += (letter == "{" and text[index - 1 : index] == "$") - (letter == "}")
            if depth == 0:
                return text[:index], text[index + 1 :]
        raise SuiteError(problem(f"{self._at(node)}: ${{...}}", "a closing brace", "none", "Add it"))

    def _at(self, node: yaml.Node) -> str:
        return f"{self.path}:{node.start_mark.line + 1}"


def _assign(data: Any, keys: list[str], value: Any, setting: str) -> None:
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if isinstance(data, list):
            if not key.isdigit() or int(key) >= len(data):
                raise SuiteError(problem(f"--set {setting}", f"an index below {len(data)}", repr(key), "Count from 0"))
            if last:
                data[int(key)] = value
            else:
                data = data[int(key)]
        elif isinstance(data, dict):
            if last:
                data[key] = value
            else:
                data = data.setdefault(key, {})
        else:
            raise SuiteError(problem(f"--set {setting}", f"a mapping before {key!r}", repr(data), "Shorten the key"))


def _nul(value: Any, where: KeyPath = ()) -> KeyPath | None:
    """Return where a text with a NUL stands; None where there is none."""
    if isinstance(value, str):
        return where if "\0" in value else None
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next((found for key, item in items if (found := _nul(item, (*where, key))) is not None), None)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value
