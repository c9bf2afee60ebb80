"""Pages of the site that are not written in docs/: the suite reference, and what lies at the repository's root."""

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from harness.difference.postprocess import POSTPROCESSORS
from harness.difference.preprocess import PREPROCESSORS
from harness.difference.strategies import STRATEGIES
from harness.images.degrade import DEGRADATIONS
from harness.search.registry import SEARCHERS
from harness.spec.reference import named_reference, schema_reference, words_reference
from harness.spec.suite import LAYOUTS, Suite

ROOT = Path(__file__).parents[1]

ROOTED = {name.lower(): name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")}
"""Pages that lie at the repository's root, by their names in the site."""

LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?!https?:|#)(?P<path>[^)#\s]+)(?P<anchor>#[^)]*)?\)")

INTRODUCTION = """\
# The suite reference

A suite is one YAML file: data, models, tasks. This page is made from the types that read it. `harness validate SUITE`
checks a file and names the line of what is wrong; `# yaml-language-server: $schema=suite.schema.json` at its top gives
completion in an editor. `${NAME}` and `${NAME:-default}` in any text are taken from the environment. A task's `name` is
its own in the suite.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    files.append(File.generated(config, "suites.md", content=suites_page()))
    for page, name in ROOTED.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turn links between files of the repository into those of the site; what is no page of it is only named."""
    folder = ROOT if page.file.src_uri in ROOTED else ROOT / "docs"

    def led(link: re.Match[str]) -> str:
        place = Path(os.path.normpath(folder / link["path"])).relative_to(ROOT).as_posix()
        inside = place.removeprefix("docs/") if place.startswith("docs/") else place.lower()
        if not place.startswith("docs/") and inside not in ROOTED:
            return f"`{link['text'].strip('`')}`"
        return f"[{link['text']}]({inside}{link['anchor'] or ''})"

    return LINK.sub(led, markdown)


def suites_page() -> str:
    """Return the suite reference."""
    return "\n".join(
        (
            INTRODUCTION,
            schema_reference(Suite.model_json_schema()),
            words_reference("Layouts", LAYOUTS),
            named_reference("Degradations", DEGRADATIONS),
            named_reference("Searchers", SEARCHERS),
            named_reference("Strategies", STRATEGIES),
            named_reference("Pre-processors", PREPROCESSORS),
            named_reference("Post-processors", POSTPROCESSORS),
        )
    )
