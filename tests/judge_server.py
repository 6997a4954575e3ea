"""A judge behind HTTP on this machine: a rule that reads the prompt, and every kind of trouble."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from peval.judge_job import Judging

FENCED = re.compile(r"<(text-[0-9a-f]{12})>\n(.*?)\n</\1>", re.DOTALL)


def job(run: Path, url: str, **more: Any) -> Judging:
    """Return what asks the judge at a URL about a run, pair by pair and in little time."""
    given = {"judge": "pair", "model": "rule", "endpoint": url, "key_variable": "none",
             "nulls": 5, "pause_s": 0.01, "timeout_s": 60.0}  # fmt: skip
    return Judging(run=str(run), **(given | more))


def fenced(prompt: str) -> list[str]:
    """Return what stands within a prompt's fences, the material but not the instructions."""
    _, _, rest = prompt.partition("The request:")
    return [text for _, text in FENCED.findall(rest)]


def longer(prompt: str) -> str:
    _, a, b = fenced(prompt)[:3]
    verdict = "C" if len(a) == len(b) else "A" if len(a) > len(b) else "B"
    return f"The longer one.\n[[{verdict}]]"


def always_a(prompt: str) -> str:
    return "[[A]]"


def numbered(prompt: str) -> str:
    """Prefer the answer with more words of the request; ties stay ties."""
    question, a, b = fenced(prompt)[:3]
    words = set(question.lower().split())
    mine, theirs = (
        sum(word in words for word in set(text.lower().split())) - 9 * ("Thought" in text)
        for text in (a, b)
    )
    verdict = "C" if mine == theirs else "A" if mine > theirs else "B"
    return f"{mine} words against {theirs}. [[{verdict}]]"


class Gate:
    """Lets so many calls be answered; whoever asks more waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._n_let_in = 0

    def let_in(self, n_calls: int) -> None:
        with self._changed:
            self._n_let_in = n_calls
            self._changed.notify_all()

    def wait(self, n: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: n < self._n_let_in)


class JudgeServer:
    """Counts calls; ``trouble`` may answer a call (by number, from 0) with a status or a body."""

    def __init__(self, rule: Callable[[str], str]) -> None:
        self.rule = rule
        self.trouble: Callable[[int], Any] = lambda n: None
        self.logprobs: Callable[[str], dict[str, float]] | None = None
        self.n_calls = 0
        self.calls: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.lock = threading.Lock()

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt = body["messages"][-1]["content"]
        choice: dict[str, Any] = {
            "index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": self.rule(prompt)},
        }  # fmt: skip
        if self.logprobs is not None:
            listed = [{"token": t, "logprob": v, "bytes": None}
                      for t, v in self.logprobs(prompt).items()]  # fmt: skip
            choice["logprobs"] = {"content": [listed[0] | {"top_logprobs": listed}]}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        return {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"],
                "choices": [choice], "usage": usage}  # fmt: skip


@contextmanager
def serving(server: JudgeServer) -> Any:
    """Serve on a free port of 127.0.0.1 and yield the endpoint's URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                n, server.n_calls = server.n_calls, server.n_calls + 1
                server.calls.append(body)
                server.keys.append(self.headers["Authorization"])
            trouble = server.trouble(n)
            if trouble == "die":
                self.close_connection = True
                return
            if isinstance(trouble, float):
                time.sleep(trouble)
                trouble = None
            status, headers, text = 200, {}, json.dumps(server.answer(body))
            if isinstance(trouble, tuple):
                status, headers, *why = trouble
                text = json.dumps({"error": {"message": "".join(why) or f"no: {server.keys[-1]}"}})
            elif isinstance(trouble, str):
                text = trouble
            elif isinstance(trouble, dict):
                text = json.dumps(server.answer(body) | trouble)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            data = text.encode()
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}/v1"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
