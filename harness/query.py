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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow.dataset import dataset

from harness.errors import HarnessError, problem
from harness.extras import load_extra
from harness.held import temporary
from harness.store.addresses import read_address
from harness.store.cells import CellStore, warn_damaged
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
    wanted = [name for name in VIEWS[2:] if name in sql.lower()]
    places = {info.records for info in infos if info.records is not None} if wanted else set()
    keys = {place: {key for info in infos if info.records == place for key in info.cells.values()} for place in places}
    for name in wanted:
        far = [(_store(RunStore(root, place), name), sorted(keys[place])) for place in sorted(places)]
        _bind_records(connection, name, _store(RunStore(root), name), far)


def _store(runs: RunStore, view: str) -> CellStore:
    return dict(zip(VIEWS[2:], (runs.cells, runs.searches, runs.differences, runs.loads), strict=True))[view]


def _bind_records(connection: Any, name: str, near: CellStore, far: Sequence[tuple[CellStore, Sequence[str]]]) -> None:
    """Make the view of one kind of record; one row a position of a cell, where an answer wins over a failure.

    Args:
        connection: to DuckDB.
        name: of the view.
        near: records below the root, all of which are read.
        far: records at URLs, and the cells there that are read.
    """
    columns = [column for column in near.schema.names if column not in HIDDEN]
    tables = [_read_parts(list(near.parts()), near.schema, columns).rename_columns([*columns, "part"])]
    for store, keys in far:
        for key in keys:
            table = store.read(key, columns).select(columns)
            tables.append(table.append_column("part", pa.repeat(f"{key}/0", table.num_rows)))
    connection.register("parts", pa.concat_tables(tables))
    connection.execute(
        f"CREATE TABLE {name}_kept AS SELECT *, parse_path(part)[-2] AS key FROM parts"
        " QUALIFY row_number() OVER (PARTITION BY parse_path(part)[-2], position ORDER BY error IS NOT NULL, part) = 1"
    )
    connection.unregister("parts")
    where = [f'c."{column}"' for column in _CELLS.names if column not in columns]
    said = ", ".join([*where, *(f'r."{column}"' for column in columns)])
    connection.execute(f"CREATE VIEW {name} AS SELECT {said} FROM cells AS c JOIN {name}_kept AS r ON c.key = r.key")


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


def _read_parts(paths: Sequence[Path], schema: pa.Schema, columns: Sequence[str]) -> pa.Table:
    """Return these columns of all parts, and whose they are; a damaged part counts as not there."""

    def read(some: Sequence[Path]) -> pa.Table:
        return dataset([str(path) for path in some], schema, format="parquet").to_table([*columns, "__filename"])

    def readable(path: Path) -> bool:
        try:
            read([path])
        except (pa.ArrowException, OSError) as error:
            warn_damaged(path, error)
            return False
        return True

    try:
        return read(paths)
    except (pa.ArrowException, OSError):
        return read([path for path in paths if readable(path)])


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
