"""Read safetensors files without trusting them, and without torch.

Format: https://github.com/huggingface/safetensors (8 bytes of little-endian header length, a JSON
header, then the tensors' bytes without gaps).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from peval.errors import PevalError
from peval.garbage import uncollected
from peval.strict_json import parse_object, show

# The reference reader takes 100 MB, which keeps Python busy for half a minute; a model of 100,000
# tensors in one file needs 17 MB.
MAX_HEADER_BYTES = 20_000_000
_CHUNK_BYTES = 1 << 24
_MAX_DIMENSION = 1 << 62
_LFS = b"version "  # what a pointer begins with; as a header's length it would be 2e18 bytes
_MAX_NAME = 1000  # characters; names are taken apart at every dot

_BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip

FLOATS = {"F16": "<u2", "BF16": "<u2", "F32": "<u4", "F64": "<u8"}


@dataclass(frozen=True)
class TensorEntry:
    """Where a tensor lies: ``start`` and ``end`` are byte offsets in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(path: Path, error: type[PevalError]) -> dict[str, TensorEntry]:
    """Read and check the header of a safetensors file.

    Parameters
    ----------
    path
        The file.
    error
        What to raise: the caller knows whether an adapter or a base model is at fault.

    Returns
    -------
    dict
        Entries by tensor name. They are known to lie within the file, to fill it without gap or
        overlap, and to be as long as their shapes say.

    Raises
    ------
    PevalError
        The file is missing, truncated, or not a well-formed safetensors file.
    """
    data, data_start, file_bytes = _header_bytes(path, error)
    header = parse_object(data, f"{path}: safetensors header", error)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise error(f"{path}: __metadata__: {show(metadata)} is not an object of texts")
    with uncollected():
        entries = {name: _entry(path, name, raw, data_start, error) for name, raw in header.items()}
        _check_layout(path, entries, data_start, file_bytes, error)
    return entries


def chunks(path: Path, entry: TensorEntry, error: type[PevalError]) -> Iterator[bytes]:
    """Yield a tensor's bytes, 16 MiB at a time.

    Read, not mapped: a checkpoint that a trainer overwrites meanwhile then gives an error, where
    a memory map would kill the process (SIGBUS).
    """
    left = entry.end - entry.start
    try:
        with path.open("rb") as file:
            file.seek(entry.start)
            while left:
                chunk = file.read(min(left, _CHUNK_BYTES))
                if not chunk:
                    raise error(f"{path}: the file became shorter while it was read")
                left -= len(chunk)
                yield chunk
    except OSError as fault:
        raise error(f"{path}: cannot be read ({fault.strerror})") from None


def largest_magnitude(chunk: bytes, dtype: str) -> float:
    """Return the largest absolute value in a chunk: 0.0 if empty, NaN or inf if there is any.

    Bit patterns of non-negative IEEE floats order like integers, with inf and NaN on top, so the
    sign bit is masked away and the rest compared as integers; that also serves bfloat16.
    """
    words = np.frombuffer(chunk, dtype=FLOATS[dtype])
    if not words.size:
        return 0.0
    magnitude_mask = np.iinfo(words.dtype).max >> 1
    return _as_float((words & words.dtype.type(magnitude_mask)).max(), dtype)


def _as_float(word: np.unsignedinteger[Any], dtype: str) -> float:
    if dtype == "BF16":  # the upper half of a float32
        return float((np.uint32(word) << np.uint32(16)).view(np.float32))
    floats: dict[str, npt.DTypeLike] = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
    return float(word.view(floats[dtype]))


def _header_bytes(path: Path, error: type[PevalError]) -> tuple[bytes, int, int]:
    """Return the header's bytes, where the tensors' bytes start, and the file's size."""
    if not path.is_file():
        raise error(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            file_bytes = path.stat().st_size
            start = file.read(8)
            if start == _LFS:
                raise error(f"{path}: a Git LFS pointer in the place of the file; fetch it with "
                            "`git lfs pull`")  # fmt: skip
            n_header_bytes = int.from_bytes(start, "little")
            _check_header_length(path, n_header_bytes, file_bytes, error)
            return file.read(n_header_bytes), 8 + n_header_bytes, file_bytes
    except OSError as fault:
        raise error(f"{path}: cannot be read ({fault.strerror})") from None


def _check_header_length(
    path: Path, n_header_bytes: int, file_bytes: int, error: type[PevalError]
) -> None:
    if file_bytes < 10:
        raise error(f"{path}: {file_bytes} bytes long, too short for a safetensors file")
    if n_header_bytes > MAX_HEADER_BYTES:
        raise error(
            f"{path}: not safetensors, or its header of {n_header_bytes} bytes is over the limit "
            f"of {MAX_HEADER_BYTES}"
        )
    if 8 + n_header_bytes > file_bytes:
        raise error(f"{path}: truncated, or not safetensors: the file ends within its header")


def _entry(
    path: Path, name: str, raw: object, data_start: int, error: type[PevalError]
) -> TensorEntry:
    where = f"{path}: tensor {show(name)}"
    if len(name) > _MAX_NAME:
        raise error(f"{where} has a name of {len(name)} characters, more than {_MAX_NAME}")
    if not isinstance(raw, dict) or set(raw) != {"dtype", "shape", "data_offsets"}:
        raise error(f"{where}: dtype, shape and data_offsets are needed, found {show(raw)}")
    dtype, shape, offsets = raw["dtype"], raw["shape"], raw["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise error(f"{where}: unknown dtype {show(dtype)}")
    if not _are_sizes(shape):
        raise error(f"{where}: shape {show(shape)} is not a list of sizes")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise error(f"{where}: data_offsets {show(offsets)} are not a start and an end")
    start, end = offsets
    if math.prod(shape) * _BITS[dtype] != (end - start) * 8:
        raise error(f"{where}: {end - start} bytes do not fit shape {show(shape)} of {dtype}")
    return TensorEntry(dtype, tuple(shape), data_start + start, data_start + end)


def _are_sizes(values: object) -> bool:
    return isinstance(values, list) and all(
        type(v) is int and 0 <= v < _MAX_DIMENSION for v in values
    )


def _check_layout(
    path: Path,
    entries: dict[str, TensorEntry],
    data_start: int,
    file_bytes: int,
    error: type[PevalError],
) -> None:
    """Tensors must fill the file from the header to its end, without gap or overlap."""
    end = data_start
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != end:
            kind = "overlaps another tensor" if entry.start < end else "leaves a gap before it"
            raise error(f"{path}: tensor {show(name)} {kind}")
        end = entry.end
    if end > file_bytes:
        raise error(f"{path}: truncated: {file_bytes} bytes long, its header needs {end}")
    if end < file_bytes:
        raise error(f"{path}: {file_bytes - end} bytes after the last tensor belong to none")
