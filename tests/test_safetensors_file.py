from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from peval.errors import AdapterError
from peval.safetensors_file import chunks, largest_magnitude, read_header


def write(path: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_reads_what_the_reference_library_writes(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(0, np.float16)}
    arrays["c"] = np.array(1.5, dtype=np.float64)
    save_file(arrays, tmp_path / "x.safetensors", metadata={"format": "np"})
    entries = read_header(tmp_path / "x.safetensors", AdapterError)
    assert {n: (e.dtype, e.shape) for n, e in entries.items()} == {
        "a": ("F32", (2, 3)), "b": ("F16", (0,)), "c": ("F64", ()),
    }  # fmt: skip
    for name, array in arrays.items():
        data = b"".join(chunks(tmp_path / "x.safetensors", entries[name], AdapterError))
        assert data == array.tobytes()


def as_bytes(values: list[float], dtype: str) -> bytes:
    if dtype == "BF16":
        return (np.array(values, np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()
    return np.array(values, {"F16": "f2", "F32": "f4", "F64": "f8"}[dtype]).tobytes()


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32", "F64"])
def test_largest_magnitude(dtype: str) -> None:
    assert largest_magnitude(as_bytes([0.5, -3.0, 1.0], dtype), dtype) == 3.0
    assert largest_magnitude(as_bytes([0.0, -0.0], dtype), dtype) == 0.0
    assert largest_magnitude(b"", dtype) == 0.0
    assert largest_magnitude(as_bytes([1.0, -math.inf], dtype), dtype) == math.inf
    assert math.isnan(largest_magnitude(as_bytes([math.inf, -math.nan], dtype), dtype))


FAULTS = {
    "empty": (b"", None, "too short"),
    "a pointer": (
        b"version https://git-lfs.github.com/spec/v1\n",
        None,
        "fetch it with `git lfs pull`",
    ),
    "text": (b"# A model\n" * 4, None, "not safetensors"),
    "header over the limit": ((32_000_001).to_bytes(8, "little") + b"{}" * 9, None, "limit"),
    "header cut": ((500).to_bytes(8, "little") + b'{"a": {}', None, "within its header"),
    "not JSON": (b"{]", b"", "not valid JSON"),
    "an array": (b"[]", b"", "JSON object"),
    "deep": (b"[" * 200_000, b"", "too deeply"),
    "not UTF-8": (b'{"\xff\xfe": 1}', b"", "UTF-8"),
    "repeated name": (b'{"a": 1, "a": 2}', b"", "'a' appears twice"),
    "entry is a number": ({"a": 1}, b"", "'a'"),
    "extra key": ({"a": entry() | {"x": 1}}, b"0" * 8, "'a'"),
    "unknown dtype": ({"a": entry("F99")}, b"0" * 8, "unknown dtype 'F99'"),
    "dtype is a list": ({"a": entry([])}, b"0" * 8, "unknown dtype"),
    "negative size": ({"a": entry("F32", [-2])}, b"0" * 8, "shape"),
    "size is true": ({"a": entry("F32", [True])}, b"0" * 8, "shape"),
    "huge size": ({"a": entry("F32", [1 << 63, 1 << 63])}, b"0" * 8, "shape"),
    "three offsets": ({"a": entry("F32", [2], [0, 8, 9])}, b"0" * 8, "data_offsets"),
    "backwards": ({"a": entry("F32", [2], [8, 0])}, b"0" * 8, "data_offsets"),
    "shape lies": ({"a": entry("F32", [3])}, b"0" * 8, "do not fit shape"),
    "truncated": ({"a": entry()}, b"0" * 7, "truncated"),
    "bytes left over": ({"a": entry()}, b"0" * 9, "1 bytes after"),
    "overlap": ({"a": entry(), "b": entry("F32", [2], [4, 12])}, b"0" * 12, "'b' overlaps"),
    "gap": ({"a": entry("F32", [2], [4, 12])}, b"0" * 12, "gap"),
    "name with line break": ({"a\nb": entry("F99")}, b"0" * 8, r"a\nb"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_malformed_file_is_refused(tmp_path: Path, fault: str) -> None:
    header, data, says = FAULTS[fault]
    path = tmp_path / "x.safetensors"
    if data is None:
        path.write_bytes(header)
    else:
        write(path, header, data)
    with pytest.raises(AdapterError, match=re.escape(says)) as caught:
        read_header(path, AdapterError)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 400


def test_directory_or_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(AdapterError, match="no such file"):
            read_header(path, AdapterError)


def test_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", {"a": entry()}, b"0" * 8)
    entries = read_header(path, AdapterError)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(AdapterError, match="became shorter"):
        list(chunks(path, entries["a"], AdapterError))
