"""Tensors of a safetensors file as numpy arrays, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from peval.errors import AdapterError
from peval.safetensors_file import FLOATS, TensorEntry, chunks

Array = npt.NDArray[np.float64]


def read_array(file: Path, entry: TensorEntry) -> Array:
    """Return one tensor in double precision, which holds every kind of float exactly."""
    words = np.frombuffer(b"".join(chunks(file, entry, AdapterError)), dtype=FLOATS[entry.dtype])
    if entry.dtype == "BF16":  # the upper half of a float32
        values = (words.astype(np.uint32) << np.uint32(16)).view(np.float32)
    else:
        values = words.view({"F16": np.float16, "F32": np.float32, "F64": np.float64}[entry.dtype])
    return values.astype(np.float64).reshape(entry.shape)


def write_float32(file: Path, tensors: Mapping[str, Array]) -> None:
    """Write tensors as float32, with the metadata that PEFT and vLLM look for."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, array in tensors.items():
        header[name] = {
            "dtype": "F32", "shape": list(array.shape), "data_offsets": [at, at + 4 * array.size],
        }  # fmt: skip
        at += 4 * array.size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for array in tensors.values():
            out.write(np.ascontiguousarray(array, dtype="<f4").tobytes())
