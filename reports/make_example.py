"""Copy a run's report with its figures to where the repository shows it as an example.

python reports/make_example.py RUN TARGET
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def main(run: Path, target: Path) -> None:
    """Replace `target` by the run's report and figures."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    shutil.copy(run / "report.md", target)
    shutil.copytree(run / "figures", target / "figures")
    print(target / "report.md")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
