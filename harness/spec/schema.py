"""The JSON Schema of suites, for editors; generated, never written by hand."""

from __future__ import annotations

import json

from harness.spec.suite import Suite


def suite_schema() -> str:
    """Return the schema as text, ready to be written to ``suites/suite.schema.json``."""
    schema = Suite.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "discern suite"
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"
