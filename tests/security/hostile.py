"""Small real runs in which everything that others may name is an attack on whoever looks at the report."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from harness.cli import app

ATTACKS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "' onmouseover='alert(3)",
    "javascript:alert(4)",
    "]]><svg onload=alert(5)>",
    "[x](javascript:alert(6)) ![y](x:y)|`</td>",
    "</title></style><style>*{display:none}</style>",
    "\x1b]0;owned\x07\u202e",
)

Word = Callable[[str], str]
"""What is written in a place, given what the place is."""


def attack(place: str) -> str:
    """Return all attacks in one name."""
    return f"{place} {' '.join(ATTACKS)}"


def calm(place: str) -> str:
    """Return a name that attacks nobody."""
    return f"calm {place}"


def harness(*words: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app, list(map(str, words)))


def write_suite(folder: Path, word: Word, rule: str = "hash") -> Path:
    """Write images, their table and a suite of a detection and a classification task.

    Args:
        folder: where to.
        word: what stands where a name is free.
        rule: of the model that the suite describes; the others always answer alike.
    """
    draw = np.random.default_rng(0)
    rows = ["path,label,subset,split,source,target"]
    for subset, label in ((word("gan"), "fake"), (f"nature:{word('gan')}", "real")):
        for number in range(6):
            path = f"{word('folder')}/{label}/{number} {word('file')}.png"
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(0, 255, (16, 16, 3), np.uint8)).save(folder / path)
            cells = (path, label, subset, "test", f"{number} {word('source')}", number % 3)
            rows.append(",".join('"' + str(cell).replace('"', '""') + '"' for cell in cells))
    (folder / "images.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(_suite(word, rule)), encoding="utf-8")
    return path


def _suite(word: Word, rule: str) -> dict[str, object]:
    facts = {"summary": word("summary"), "licence": word("licence"), "source": word("source")}
    facts |= {"preprocess": {"crop": 16}, "training": {"images": word("training")}}
    said = {"heads": [{"name": "fake", "trained_on": [word("gan")]}], "claims": {f"accuracy@{word('gan')}": 0.9}}
    classes = {"classes": [f"{word('class')} {number}" for number in range(3)], "task": "classification"}
    scripts = {
        "toy.told": {"card": {"name": "toy.told", "score": "probability", **facts, **said}},
        "toy.failing": {
            "card": {"name": "toy.failing", "score": "probability", **facts},
            "faults": [{"kind": "refused", "every": 2}],
        },
        "toy.first": {"card": {"name": "toy.first", **facts, **classes}, "rule": "hash"},
        "toy.second": {"card": {"name": "toy.second", **facts, **classes}, "rule": rule},
    }
    described = {"preprocess": {"crop": 16}, "input": "image", "output": "score", "score": "probability"}
    script = json.dumps({"card": {"name": "x.y", "score": "probability", "preprocess": {"crop": 16}}, "rule": rule})
    models = [{"name": name, "endpoint": f"scripted:{json.dumps(script)}"} for name, script in scripts.items()]
    models.append({"name": "acme.ours", "endpoint": f"scripted:{script}", "card": described})
    claim = {"model": "toy.told/*", "subset": word("gan"), "value": 0.7, "source": word("claim")}
    detection = {
        "kind": "detection",
        "name": "detect",
        "data": "d",
        "models": ["toy.told", "toy.failing", "acme.*"],
        "degradations": ["none", {"jpeg": {"quality": 65}}],
        "threshold": {"fixed": 0.5},
    }
    classification = {"kind": "classification", "data": "d", "models": ["toy.first", "toy.second"]}
    return {
        "name": "hostile",
        "description": word("description"),
        "data": {"d": {"layout": "manifest", "root": "images.csv"}},
        "models": models,
        "tasks": [detection, classification | {"reference": "toy.first"}],
        "report": {"notes": [word("note")], "claims": [claim], "mistakes": 4},
        "resamples": 100,
        "max_failures": 1.0,
    }
