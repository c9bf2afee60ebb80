"""A run in Python: what was asked, and every answer as a data frame. Asks no model and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from harness.baselines import RUN, open_side
from harness.errors import StoreError, problem
from harness.store.addresses import Address, read_address
from harness.store.cells import CellStore
from harness.store.runs import RunInfo

ADDRESS = ("task", "model", "subset", "split", "degradation", "batch")
RECORD = ("sample", "source", "label", "target", "scores", "error", "detail")


@dataclass(frozen=True)
class LoadedRun:
    """A run on disk.

    Attributes:
        folder: where it lies.
        info: what run.json says.
        records: answers of the runs beside it.
    """

    folder: Path
    info: RunInfo
    records: CellStore

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a record, cell by cell in the order of their names, each cell in the order of its images.

        Columns: ``task``, ``model``, ``subset``, ``split``, ``degradation`` and ``batch`` say who was asked about what;
        ``sample``, ``source``, ``label`` (0 real, 1 fake), ``target`` (class index) which image; ``scores`` (float32
        array, as the model answered) is None where ``error`` and ``detail`` tell why. Words are categories.
        """
        tables = []
        for name, key in sorted(self.info.cells.items()):
            address = read_address(name)
            table = self.records.read(key, RECORD) if address is not None else None
            if address is not None and table is not None and table.num_rows:
                tables.append(_with_address(table.select(RECORD), address))
        if not tables:
            return pd.DataFrame(columns=[*ADDRESS, *RECORD])
        whole: pd.DataFrame = pa.concat_tables(tables).unify_dictionaries().to_pandas()
        return whole


def load_run(path: str | Path) -> LoadedRun:
    """Open a run's folder, ``reports/runs/RUN``, or a baseline's.

    Raises:
        StoreError: there is no run, or it can't be read.
    """
    folder = Path(path).resolve()
    if not (folder / RUN).is_file():
        do = "Name the folder of a run, reports/runs/RUN, or of a baseline"
        raise StoreError(problem(str(folder), f"a folder with {RUN}", "none", do))
    side = open_side(str(folder), folder)
    return LoadedRun(folder, side.info, side.answers)


def _with_address(table: pa.Table, address: Address) -> pa.Table:
    for place, name in enumerate(ADDRESS):
        kind = pa.int32() if name == "batch" else pa.string()
        column = pa.repeat(pa.scalar(getattr(address, name), kind), table.num_rows)
        table = table.add_column(place, name, column if name == "batch" else column.dictionary_encode())
    return table
