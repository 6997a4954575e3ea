from __future__ import annotations

from pathlib import Path

import pytest
from hostile_text import HOSTILE
from made_runs import made_run
from pyarrow import parquet


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two adapters on two tasks in which all that a model or a file can say is hostile."""
    names = ["good", "a|b`<i>\"'&_x_"]
    tasks = {
        task: {None: [0.0, 1.0] * 20, names[0]: [1.0] * 40, names[1]: [0.0] * 40}
        for task in ("arithmetic", "words<u>")
    }
    path = made_run(tmp_path_factory.mktemp("hostile") / "run", tasks, asked=HOSTILE)
    file = path / "completions.parquet"
    table = parquet.read_table(file)
    at = table.column_names.index("text")
    said = [f"{HOSTILE} {i}" for i in range(table.num_rows)]
    parquet.write_table(table.set_column(at, "text", [said]), file)
    return path
