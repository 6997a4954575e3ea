"""The scorer's process beside a training: one line in for each checkpoint, one line out.

In: the options of `peval.Scorer` with ``stops_between``, then ``{"step", "path"}``. Out:
``{"step", "metrics"}`` or ``{"step", "error"}``. When the trainer's end of the pipe closes, this
process leaves at once, and its engine with it.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import IO, Any

from peval.errors import PevalError
from peval.exports.systems import scalars
from peval.live import Scorer
from peval.types import CONTROL


def main() -> None:
    """Serve the trainer until it lets go."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints belongs into the log
    inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    options = json.loads(sys.stdin.readline())
    stops_between = options.pop("stops_between")
    threading.Thread(target=_read, args=(inbox,), daemon=True).start()
    with Scorer(**options) as scorer:
        while True:
            asked = inbox.get()
            found = _answer(scorer, asked["path"])
            if stops_between:  # before the reply: the trainer takes the device when it comes
                scorer.close()
            _say(replies, {"step": asked["step"], **found})


def _read(inbox: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        inbox.put(json.loads(line))
    os._exit(0)  # the engine's guard sees it


def _answer(scorer: Scorer, path: str) -> dict[str, Any]:
    try:
        results = scorer.score(path)
    except PevalError as error:
        return {"error": str(error)}
    if not results.complete:
        return {"error": "some requests failed; see its report"}
    (adapter,) = [a["name"] for a in results.adapters if a["method"] != CONTROL]
    return {"metrics": scalars(results, adapter), "n_engine_starts": scorer.n_engine_starts}


def _say(replies: IO[str], message: dict[str, Any]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


if __name__ == "__main__":
    main()
