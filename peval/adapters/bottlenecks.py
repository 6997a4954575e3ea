"""Bottleneck adapters (Houlsby, Pfeiffer, AdapterPlus) as the ``adapters`` library saves them.

Source: adapter-hub/adapters 1.3.0, ``methods/bottleneck.py`` (what an adapter sees),
``models/llama`` and ``models/t5`` (where it stands), ``loading.py`` (files).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from peval.adapters.basemodel import BaseModel, Shape
from peval.adapters.bottleneck_config import BottleneckConfig, read_bottleneck_config
from peval.adapters.entries import Entries, check_dtypes, refuse
from peval.adapters.weights import (
    BOTTLENECKS_FILE,
    HEAD_FILE,
    PICKLED_BOTTLENECKS,
    PICKLED_HEAD,
    Survey,
    safe_file,
    survey,
)
from peval.errors import AdapterError
from peval.safetensors_file import chunks, read_header
from peval.strict_json import show
from peval.types import HF

HEAD_TENSOR = "lm_head.weight"
_PREFIXES = ("", "model.", "transformer.")
# Files beside the weights that change the model in other ways.
_REFUSED_FILES = {
    "adapter_fusion_config.json": "a fusion of adapters", "embedding.pt": "embeddings of its own",
    "adapter_interface.json": "an adapter made through AdapterModelInterface",
}  # fmt: skip
_LLAMAS, _T5S = ("llama", "mistral"), ("t5", "mt5")


@dataclass(frozen=True)
class Place:
    """Where an adapter may stand: behind ``sublayer``, whose residual goes into ``norm``.

    ``owner`` is the module that the library's tensors belong to. Names are those of the base
    without what precedes its layers.
    """

    site: str
    layer: int
    owner: str
    sublayer: str
    norm: str


@dataclass(frozen=True)
class Bottlenecks:
    """A vetted adapter; ``places`` are those that it has tensors for, none without a base.

    ``head`` are the tensors of an output layer saved beside it, ``files`` those that were read.
    """

    config: BottleneckConfig
    files: tuple[Path, ...]
    entries: Entries
    head: Entries
    places: tuple[Place, ...]
    sha256: str
    changes_nothing: bool

    @property
    def route(self) -> str:
        """Only transformers has a place for them."""
        return HF

    @property
    def why(self) -> str:
        """Why it takes its route."""
        up = (e for name, e in self.entries.items() if name.endswith(".adapter_up.weight"))
        widths = ", ".join(map(str, sorted({entry.shape[-1] for entry in up if entry.shape})))
        where = " and ".join(self.sublayers)
        return f"bottlenecks of {widths} behind {where}, which vLLM has no place for"

    @property
    def n_modules(self) -> int:
        """How many bottlenecks it has."""
        return len({name.partition(".adapters.")[0] for name in self.entries})

    @property
    def sublayers(self) -> tuple[str, ...]:
        """What kinds of sublayer it stands behind."""
        kinds = sorted({place.sublayer.rsplit(".", 1)[-1] for place in self.places})
        return tuple(kinds) or tuple(sorted(self.config.sites))


def read_bottlenecks(path: Path, model: BaseModel | None, dtype: str | None) -> Bottlenecks:
    """Vet an adapter of that library; ``dtype`` is what an engine turns values into.

    Raises
    ------
    AdapterError
        One line: the file, the field or tensor, and what is wrong with it.
    """
    for name, what in _REFUSED_FILES.items():
        if (path / name).exists():
            raise AdapterError(f"{path / name}: {what} is not served")
    config = read_bottleneck_config(path)
    file = safe_file(path, BOTTLENECKS_FILE, (PICKLED_BOTTLENECKS,))
    entries = read_header(file, AdapterError)
    check_dtypes(file, entries)
    found = _check(file, entries, config, model) if model else ()
    for name in entries:
        if f".adapters.{config.name}." not in name:
            refuse(file, name, f"is not of the adapter {show(config.name)}")
    # Its name within the library is no part of what it is.
    nameless = {n.replace(f".adapters.{config.name}.", ".adapters."): e for n, e in entries.items()}
    head: Entries = {}
    files = [file]
    if (path / HEAD_FILE).exists() or (path / PICKLED_HEAD).exists():
        files.append(safe_file(path, HEAD_FILE, (PICKLED_HEAD,)))
        head = _head(files[1], model)
    seen = survey(file, nameless, dtype)  # values last: what is malformed is refused at once
    digest = seen.sha256
    if head:
        digest += survey(files[1], head, dtype).sha256
    sha256 = hashlib.sha256(b"adapters " + config.fingerprint() + digest.encode()).hexdigest()
    idle = not head and _is_idle(config, nameless, seen)
    return Bottlenecks(config, tuple(files), entries, head, found, sha256, idle)


def places(config: BottleneckConfig, n_layers: int, n_decoder_layers: int) -> Iterator[Place]:
    """Yield where the config puts adapters, in the order of layers.

    The layers of a decoder behind an encoder are counted on from the encoder's.
    """
    of_model = _llama(n_layers)
    if config.model_type in _T5S:
        of_model = _t5(n_layers, n_decoder_layers)
    for place in of_model:
        if place.site in config.sites and place.layer not in config.leave_out:
            yield place


def prefix_of(entries: Entries) -> str:
    """Return what an adapter's tensors have before the names of layers."""
    first = next(iter(entries), "")
    return next((p for p in reversed(_PREFIXES) if first.startswith(p)), "")


def _llama(n_layers: int) -> Iterator[Place]:
    for n in range(n_layers):
        at = f"layers.{n}"
        attention = (f"{at}.attention_adapters", f"{at}.self_attn", f"{at}.input_layernorm")
        yield Place("mh_adapter", n, *attention)
        mlp = (f"{at}.output_adapters", f"{at}.mlp", f"{at}.post_attention_layernorm")
        yield Place("output_adapter", n, *mlp)


def _t5(n_layers: int, n_decoder_layers: int) -> Iterator[Place]:
    own, mlp = ("mh_adapter", "SelfAttention"), ("output_adapter", "DenseReluDense")
    other = ("cross_adapter", "EncDecAttention")
    stacks = [(f"encoder.block.{n}", n, [own, mlp]) for n in range(n_layers)]
    stacks += [
        (f"decoder.block.{n}", n_layers + n, [own, other, mlp]) for n in range(n_decoder_layers)
    ]
    for block, layer, sublayers in stacks:
        for k, (site, kind) in enumerate(sublayers):
            at = f"{block}.layer.{k}"
            yield Place(site, layer, at, f"{at}.{kind}", f"{at}.layer_norm")


def _check(
    file: Path, entries: Entries, config: BottleneckConfig, model: BaseModel
) -> tuple[Place, ...]:
    """Hold the tensors against what config and base ask for; return their places."""
    kind = model.setting("model_type")
    if config.model_type != kind:
        config.refuse("model_type", f"{show(config.model_type)}, the base is {show(kind)}")
    if kind not in (*_LLAMAS, *_T5S):
        config.refuse("model_type", f"bottleneck adapters on {show(kind)} are not served, only on "
                      f"{', '.join((*_LLAMAS, *_T5S))}")  # fmt: skip
    hidden, n_layers = model.hidden_size, model.n_layers
    if hidden is None or n_layers is None:
        config.refuse("hidden_size", "the base's config does not say its width or depth")
    if config.hidden_size != hidden:
        config.refuse("hidden_size", f"{show(config.hidden_size)}, the base has {hidden}")
    found = tuple(places(config, n_layers, int(model.setting("num_decoder_layers") or n_layers)))
    if not found:
        config.refuse("leave_out", "no layer of the base is left")
    prefix = prefix_of(entries)
    required: dict[str, Shape] = {}
    for place in found:
        stem = f"{prefix}{place.owner}.adapters.{config.name}."
        width = config.width(place.layer, hidden)
        required |= {stem + k: v for k, v in _tensors(config, width, hidden).items()}
    for name, entry in entries.items():
        if name not in required:
            refuse(file, name, "has no place: config and base do not ask for it")
        if entry.shape != required[name]:
            refuse(file, name, f"has shape {list(entry.shape)}, config and base ask for "
                   f"{list(required[name])}")  # fmt: skip
    if missing := next((name for name in required if name not in entries), None):
        raise AdapterError(f"{file}: no tensor {show(missing)}, which config and base ask for")
    if config.how.ln_before:
        _check_twins(file, entries)
    return found


def _tensors(config: BottleneckConfig, width: int, hidden: int) -> dict[str, Shape]:
    """Return the tensors of one adapter module."""
    how = config.how
    at = 1 if how.ln_before else 0
    found: dict[str, Shape] = {
        f"adapter_down.{at}.weight": (width, hidden), f"adapter_down.{at}.bias": (width,),
        "adapter_up.weight": (hidden, width), "adapter_up.bias": (hidden,),
    }  # fmt: skip
    norms = ["adapter_norm_before", "adapter_down.0"] if how.ln_before else []
    norms += ["adapter_norm_after"] if how.ln_after else []
    found |= {f"{norm}.{part}": (hidden,) for norm in norms for part in ("weight", "bias")}
    if isinstance(how.scaling, str):
        found["scaling"] = (1,) if how.scaling == "learned" else (hidden,)
    return found


def _check_twins(file: Path, entries: Entries) -> None:
    """Refuse two values for a norm before the bottleneck, which is one module under two names."""
    for name, entry in entries.items():
        twin = entries.get(name.replace(".adapter_norm_before.", ".adapter_down.0."))
        if twin is None or twin is entry:
            continue
        mine, other = (chunks(file, each, AdapterError) for each in (entry, twin))
        if entry.dtype != twin.dtype or any(a != b for a, b in zip(mine, other, strict=True)):
            refuse(file, name, "differs from its copy in adapter_down.0")


def _head(file: Path, model: BaseModel | None) -> Entries:
    """Vet an output layer saved beside an adapter: the base's own kind, in its shape."""
    entries = read_header(file, AdapterError)
    check_dtypes(file, entries)
    for name, entry in entries.items():
        if name != HEAD_TENSOR:
            refuse(file, name, f"is no output layer ({HEAD_TENSOR}); other heads are not served")
        shape = model.shapes.get(name, model.shapes.get(model.embedding or "")) if model else None
        if shape is not None and entry.shape != shape:
            refuse(file, name, f"has shape {list(entry.shape)}, the base has {list(shape)}")
    return entries


def _is_idle(config: BottleneckConfig, entries: Entries, seen: Survey) -> bool:
    """Say whether nothing comes up from any bottleneck."""
    if config.how.ln_after or config.how.keeps_residual:
        return False
    return all(name in seen.zero for name in entries if ".adapter_up." in name)
