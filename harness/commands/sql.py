"""harness sql: one's own questions over runs and records."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.plain import plain


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(
        epilog="Examples:\n\n  harness sql 'SELECT run, suite, verdict FROM runs ORDER BY started'"
        "\n\n  harness sql 'DESCRIBE records'"
        '\n\n  harness sql --csv "SELECT model, avg(scores[1]) FROM records WHERE error IS NULL GROUP BY model" > x.csv'
    )
    def sql(
        question: Annotated[str, typer.Argument(help="One SELECT, in DuckDB's SQL.", metavar="SELECT")],
        out_dir: Annotated[Path, typer.Option("--out", help="Folder of runs and records.")] = Path("reports"),
        csv: Annotated[bool, typer.Option("--csv", help="Print CSV at full precision.")] = False,
    ) -> None:
        """Ask runs and records in SQL (extra: sql): views runs, cells, records, searches, differences and loads."""
        from tabulate import tabulate

        from harness.query import query

        answer = query(out_dir, question)
        if csv:
            answer.to_csv(sys.stdout, index=False, lineterminator="\n")
            return
        shown = tabulate(answer, headers="keys", showindex=False, missingval="–", disable_numparse=False)  # type: ignore[arg-type]
        sys.stdout.write("\n".join(map(plain, shown.split("\n"))) + f"\n{len(answer):,} rows\n")
