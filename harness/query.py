"""One's own questions in SQL: every run and record under one root as views in DuckDB, which itself reaches no file.

The views:

- ``runs``: one row a run;
- ``cells``: one row a cell of a run, under the ``key`` that its records are kept by;
- ``records``: what each model said of each image;
- ``searches``, ``differences``, ``loads``: what came of each search, map and timed request.

The latter four have the columns of ``cells`` before their own.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset  # DuckDB registers tables through it, and dies where it can not import it

from harness.errors import HarnessError, problem
from harness.extras import load_extra
from harness.held import temporary
from harness.store.addresses import read_address
from harness.store.cells import CellStore
from harness.store.runs import RunInfo, RunStore

VIEWS = ("runs", "cells", "records", "searches", "differences", "loads")

HIDDEN = ("png",)
"""Columns that no view has: pictures."""

_RUNS = pa.schema(
    [
        *((name, pa.string()) for name in ("run", "suite", "file", "status", "verdict")),
        ("valid", pa.bool_()),
        *((name, pa.timestamp("s")) for name in ("started", "finished")),
        ("served", pa.string()),
        ("per_subset", pa.int64()),
        ("plan", pa.string()),
        ("environment", pa.map_(pa.string(), pa.string())),
        ("spec", pa.string()),
    ]
)

_CELLS = pa.schema(
    [
        *((name, pa.string()) for name in ("run", "task", "model", "method", "subset", "split", "degradation")),
        ("batch", pa.int32()),
        ("key", pa.string()),
    ]
)


def query(root: Path, sql: str) -> pd.DataFrame:
    """Answer one SELECT over the views.

    Args:
        root: folder that holds ``runs/`` and the records.
        sql: one statement that reads.

    Raises:
        HarnessError: it is none, DuckDB refuses it, or the extra ``sql`` is not installed.
    """
    duckdb = load_extra("duckdb", "sql")
    try:
        statements = duckdb.extract_statements(sql)
        if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
            kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
            do = "Ask one question at a time; records are never changed"
            raise HarnessError(problem("harness sql", "one SELECT", kinds, do))
        with (
            temporary("discern-sql-") as spill,
            duckdb.connect(":memory:", config={"temp_directory": str(spill)}) as connection,
        ):
            _bind(connection, root, sql)
            _lock(connection)
            answer: pd.DataFrame = connection.execute(sql).df()
            return answer.map(lambda cell: cell.tolist() if isinstance(cell, np.ndarray) else cell)
    except duckdb.Error as error:
        do = f"The views are {', '.join(VIEWS)}; harness sql 'DESCRIBE records' shows the columns of one"
        raise HarnessError(problem("harness sql", "a question that DuckDB can answer", str(error), do)) from error


def _bind(connection: Any, root: Path, sql: str) -> None:
    """Make the views; records are read only where the question has their view's name somewhere."""
    infos = RunStore(root).all()
    connection.register("runs", pa.Table.from_pylist([_run(info) for info in infos], schema=_RUNS))
    cells = [row for info in infos for row in _cells(info)]
    connection.register("listed", pa.Table.from_pylist(cells, schema=_CELLS))
    connection.execute("CREATE TABLE cells AS SELECT * FROM listed")
    connection.unregister("listed")
    places: dict[str | None, set[str]] = {None: set()}
    for info in infos:
        places.setdefault(info.records, set()).update(info.cells.values())
    if wanted := [view for view in VIEWS[2:] if view in sql.lower()]:
        opened = [(RunStore(root, at), keys) for at, keys in places.items()]
        for view in wanted:
            _bind_records(connection, view, [(_store(runs, view), keys) for runs, keys in opened])


def _store(runs: RunStore, view: str) -> CellStore:
    return dict(zip(VIEWS[2:], (runs.cells, runs.searches, runs.differences, runs.loads), strict=True))[view]


def _bind_records(connection: Any, view: str, stores: Sequence[tuple[CellStore, Collection[str]]]) -> None:
    """Make the view of one kind of record; one row a position of a cell, where an answer wins over a failure.

    Args:
        connection: to DuckDB.
        view: its name.
        stores: where records are, and the cells that are read there; of one that is in two, the first wins.
    """
    schema = stores[0][0].schema
    columns = [column for column in schema.names if column not in HIDDEN]
    found: dict[str, pa.Table] = {}
    for store, keys in stores:
        for key in sorted(keys - found.keys()):
            table = store.read(key, columns).select(columns)
            if table.num_rows:
                found[key] = table
    tables = [table.append_column("key", pa.repeat(key, table.num_rows)) for key, table in found.items()]
    none = pa.schema([*(schema.field(column) for column in columns), ("key", pa.string())]).empty_table()
    connection.register("read", pa.concat_tables([none, *tables]))
    connection.execute(f"CREATE TABLE {view}_kept AS SELECT * FROM read")
    connection.unregister("read")
    where = [f'c."{column}"' for column in _CELLS.names if column not in columns]
    said = ", ".join([*where, *(f'r."{column}"' for column in columns)])
    connection.execute(f"CREATE VIEW {view} AS SELECT {said} FROM cells AS c JOIN {view}_kept AS r ON c.key = r.key")


def _lock(connection: Any) -> None:
    """Leave the connection no file, no network and no extension, and no way to change that."""
    for setting in (
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "python_enable_replacements = false",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")


def _run(info: RunInfo) -> dict[str, object]:
    said = info.model_dump(mode="python", include={"status", "verdict", "served", "plan"})
    return said | {
        "run": info.id,
        "suite": str(info.spec.get("name", "")),
        "file": info.suite,
        "valid": None if info.verdict is None else info.verdict.startswith("VALID"),
        "started": _time(info.started),
        "finished": _time(info.finished),
        "per_subset": info.limit,
        "environment": [(key, str(value)) for key, value in sorted(info.environment.items())],
        "spec": json.dumps(info.spec, sort_keys=True),
    }


def _cells(info: RunInfo) -> Iterator[dict[str, object]]:
    for name, key in info.cells.items():
        address = read_address(name)
        if address is not None:
            row = {field: getattr(address, field, None) for field in _CELLS.names}
            yield row | {"run": info.id, "key": key}


def _time(moment: str | None) -> pd.Timestamp | None:
    """Return a run's moment in UTC; None where it is none."""
    try:
        return None if moment is None else pd.Timestamp(moment).tz_convert("UTC").tz_localize(None)
    except (ValueError, TypeError):  # no time, or one without its zone
        return None
