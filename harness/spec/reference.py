"""A JSON Schema, and things that are called by name, as Markdown for readers. Never decides what a suite may say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.named import Named

Schema = Mapping[str, Any]

_KEY = re.compile(r"    (?P<names>\w+(?:, \w+)*): (?P<text>.*)")
_ROLE = re.compile(r":\w+:`[\w.]*?(\w+)`")

_LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def schema_reference(schema: Schema) -> str:
    """Return every type of a schema as a heading, a sentence and a table of its keys.

    Args:
        schema: as pydantic writes it: types in ``$defs``, meanings in Google-style docstrings. Types that share a key
            with a constant value, as the ``kind`` of a task, come first and are titled by it.
    """
    types = {name: _object(item) for name, item in schema["$defs"].items()}
    kinds = {name: str(item["properties"]["kind"]["const"]) for name, item in types.items() if _kind(item)}
    parts = [_section("## A suite", schema)]
    parts += [_section(f"## Task `{kind}` {{#{name.lower()}}}", types[name]) for name, kind in kinds.items()]
    parts += [_section(f"## {name}", item) for name, item in types.items() if name not in kinds]
    return "\n".join(parts)


def named_reference(title: str, kinds: Mapping[str, type[Named]]) -> str:
    """Return things that a suite calls by name, each with its parameters as they come and what it does."""
    rows = []
    for name, kind in kinds.items():
        schema = kind.model_json_schema()
        said = [_parameter(key, item) for key, item in schema.get("properties", {}).items()]
        first = schema.get("description", "").partition("\n\n")[0]
        rows.append(f"| `{name}` | {'<br>'.join(said)} | {_prose(first)} |")
    return "\n".join([f"## {title}", "", "| name | parameters | what it does |", "|---|---|---|", *rows, ""])


def words_reference(title: str, words: Mapping[str, str]) -> str:
    """Return names with a sentence each."""
    rows = [f"| `{name}` | {_prose(text)} |" for name, text in words.items()]
    return "\n".join([f"## {title}", "", "| name | what it is |", "|---|---|", *rows, ""])


def _object(item: Schema) -> Schema:
    """Return the mapping among what a type may be."""
    return next((one for one in item.get("anyOf", ()) if "properties" in one), item)


def _kind(item: Schema) -> bool:
    return "const" in item.get("properties", {}).get("kind", {})


def _section(heading: str, item: Schema) -> str:
    text, meanings = _split(item.get("description", ""))
    rows = [
        f"| `{key}` | {_type(value)} | {_default(key, value, item)} |"
        f" {_prose(meanings.get(key) or value.get('description', ''))} |"
        for key, value in item.get("properties", {}).items()
        if "const" not in value
    ]
    table = ["| key | type | default | meaning |", "|---|---|---|---|", *rows, ""] if rows else []
    return "\n".join([heading, "", *([_prose(text), ""] if text else []), *table])


def _split(docstring: str) -> tuple[str, dict[str, str]]:
    """Return what a docstring says before its attributes, and what it says of each."""
    text, _, attributes = docstring.partition("\nAttributes:\n")
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in attributes.splitlines():
        if match := _KEY.fullmatch(line):
            names = match["names"].split(", ")
            meanings |= dict.fromkeys(names, match["text"])
        else:
            meanings |= {name: f"{meanings[name]} {line.strip()}" for name in names}
    return text.strip(), meanings


def _type(item: Schema) -> str:
    """Return a type in words."""
    if "$ref" in item:
        name = item["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in item or "const" in item:
        return ", ".join(f"`{value}`" for value in item.get("enum", [item.get("const")]))
    if "description" in item and "anyOf" in item:
        return _prose(item["description"])
    if several := item.get("anyOf") or item.get("oneOf"):
        return " or ".join(dict.fromkeys(_type(one) for one in several))
    return "".join(_plain(item))


def _plain(item: Schema) -> Iterator[str]:
    kind = item.get("type", "anything")
    if kind == "array" and "prefixItems" in item:
        yield f"list of {len(item['prefixItems'])}: {', '.join(dict.fromkeys(map(_type, item['prefixItems'])))}"
    elif kind == "array":
        yield f"list of: {_type(item.get('items', {}))}"
    elif kind == "object":
        values = [item.get("additionalProperties"), *item.get("patternProperties", {}).values()]
        known = [_type(value) for value in values if isinstance(value, dict)]
        yield f"mapping of names to: {' or '.join(known) or 'anything'}"
    else:
        yield " or ".join([kind] if isinstance(kind, str) else kind)
    limits = [f"{sign} {item[key]:g}" for key, sign in _LIMITS.items() if key in item]
    if limits:
        yield f", {', '.join(limits)}"


def _default(key: str, item: Schema, parent: Schema) -> str:
    if key in parent.get("required", ()):
        return "required"
    value = item.get("default")
    if isinstance(value, dict) and value.keys() == {"kind"}:
        value = value["kind"]
    if value is None:
        return ""
    return "" if isinstance(value, dict) and value else f"`{json.dumps(value, ensure_ascii=False)}`"


def _parameter(key: str, item: Schema) -> str:
    said = f"`{key}={json.dumps(item['default']).strip(chr(34))}`" if item.get("default") is not None else f"`{key}`"
    return f"{said} {_type(item)}"


def _prose(text: str) -> str:
    """Return a docstring's text as Markdown of one line that fits a table and holds no HTML."""
    line = _ROLE.sub(r"`\1`", " ".join(text.split())).replace("``", "`").replace("|", "\\|")
    parts = line.split("`")
    parts[::2] = [part.replace("&", "&amp;").replace("<", "&lt;").replace("*", "\\*") for part in parts[::2]]
    return "`".join(parts)
