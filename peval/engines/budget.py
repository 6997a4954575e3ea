"""Money: reserved before each call, settled after it, within a cap that outlives the process."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from peval.errors import JudgeError


class CapReachedError(JudgeError):
    """The next call could cost more than is left."""


class Budget:
    """A ledger on disk. A reservation that a killed process never settled counts as spent.

    Parameters
    ----------
    path
        One line of JSON for each reservation and settlement.
    cap_usd
        The most that may ever be spent; None for no limit.
    elsewhere_usd
        What other ledgers have spent under the same cap.
    """

    def __init__(self, path: Path, cap_usd: float | None, elsewhere_usd: float = 0.0) -> None:
        self._path = path
        self._elsewhere = elsewhere_usd
        self._cap = cap_usd
        self._lock = threading.Lock()
        self._open: dict[str, float] = {}
        self._settled = 0.0
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:  # a torn last line was never acted upon
                continue
            self._book(str(entry["id"]), entry["usd"], entry["kind"])
        self._settled += sum(self._open.values())
        self._open.clear()

    @property
    def spent_usd(self) -> float:
        """What was spent, open reservations included."""
        with self._lock:
            return self._settled + sum(self._open.values())

    def reserve(self, name: str, usd: float) -> None:
        """Set money aside.

        Raises
        ------
        CapReachedError
            If that could exceed the cap.
        """
        with self._lock:
            spent = self._elsewhere + self._settled + sum(self._open.values())
            if self._cap is not None and spent + usd > self._cap + 1e-12:
                raise CapReachedError(
                    f"the cap of ${self._cap:.4f} is reached: ${spent:.4f} are spent or set aside, "
                    f"and the next call could cost ${usd:.4f}; raise --max-cost to go on"
                )
            self._note(name, usd, "reserved")

    def settle(self, name: str, usd: float) -> None:
        """Replace a reservation by what the call did cost."""
        with self._lock:
            self._note(name, usd, "settled")

    def _note(self, name: str, usd: float, kind: str) -> None:
        if usd == 0 and name not in self._open:
            return  # a server without prices needs no ledger
        line = json.dumps({"id": name, "usd": usd, "kind": kind}) + "\n"
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            if kind == "reserved":  # a settlement that is lost leaves more spent, never less
                os.fsync(file.fileno())
        self._book(name, usd, kind)

    def _book(self, name: str, usd: float, kind: str) -> None:
        if kind == "reserved":
            self._open[name] = self._open.get(name, 0.0) + usd
        else:
            self._open.pop(name, None)
            self._settled += usd
