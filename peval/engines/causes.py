"""Read from an engine's log why it died, and what a person can do about it."""

from __future__ import annotations

import re
from pathlib import Path

_TAIL_BYTES = 200_000
_MAX_CHARS = 300
_PREFIX = r"(?:\(\w+(?: \w+)* pid=\d+\) )?(?:(?:ERROR|WARNING) [\d-]+ [\d:]+ \[[^\]]*\] )?"
_RAISED = re.compile(rf"^{_PREFIX}(?:\w+\.)*(\w*(?:Error|Exception|Interrupt|Exit))(?:: (.*))?$")
_INDENTED = re.compile(rf"^{_PREFIX}\s+(\S.*)$")
_ECHOES = ("Engine core initialization failed", "EngineCore encountered an issue")
_ADVICE = (
    (
        r"No available memory for the cache blocks|KV cache.*(?:larger|needed)|"
        r"GiB KV cache is needed|memory.*on kv cache allocation is less",
        "give the KV cache more memory (--engine-arg gpu_memory_utilization=0.95, on a CPU "
        "VLLM_CPU_KVCACHE_SPACE=GiB) or shorten --max-model-len",
    ),
    (
        r"memory.*on startup is less than desired",
        "free the device's memory, or lower --engine-arg gpu_memory_utilization=...",
    ),
    (
        r"out of memory|OutOfMemoryError",
        "lower --engine-arg gpu_memory_utilization=... or max_num_seqs=...",
    ),
    (
        r"ValidationError|No module named|Unrecognized (?:model|configuration)|is not supported|"
        r"are not supported|unexpected keyword argument",
        "",
    ),
)


def last_cause(log_path: Path, start: int) -> str:
    """Return the root of the last traceback after a position of a log, with advice, or ""."""
    lines = _tail(log_path, start).splitlines()
    raised = [(i, m) for i, line in enumerate(lines) if (m := _RAISED.match(line))]
    roots = [(i, m) for i, m in raised if not any(e in (m[2] or "") for e in _ECHOES)]
    if not raised:
        return ""
    index, match = (roots or raised)[-1]
    text = f"{match[1]}: {match[2] or ''}{_details(lines[index + 1 :])}"[:_MAX_CHARS].rstrip(": ")
    return "; ".join(part for part in (text, _advice(text)) if part)


def is_permanent(cause: str) -> bool:
    """Whether starting again cannot help."""
    return any(re.search(pattern, cause) for pattern, _ in _ADVICE)


def _advice(cause: str) -> str:
    return next((advice for pattern, advice in _ADVICE if re.search(pattern, cause)), "")


def _details(following: list[str]) -> str:
    """Join the indented lines with which pydantic explains a refusal."""
    details = []
    for line in following[:4]:
        match = _INDENTED.match(line)
        if match is None or "further information" in line:
            break
        details.append(match[1])
    return "".join(f" {detail}" for detail in details)


def _tail(log_path: Path, start: int) -> str:
    with log_path.open("rb") as log:
        size = log.seek(0, 2)
        log.seek(max(start, size - _TAIL_BYTES))
        return log.read().decode(errors="replace")
