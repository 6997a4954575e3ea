"""One adapter directory, vetted: config, tensors, equation, values, route."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from peval.adapters.alone import check_alone
from peval.adapters.basemodel import PREFIX, BaseModel
from peval.adapters.config import Config, read_config
from peval.adapters.entries import Entries, check_dtypes, refuse
from peval.adapters.heads import heads_of
from peval.adapters.links import check_links
from peval.adapters.preflight import check
from peval.adapters.required import Plan
from peval.adapters.rewrite import initial_file, rewritten_rank
from peval.adapters.routes import Route, choose
from peval.adapters.weights import Survey, check_ranks, pair_tensors, survey, weights_file
from peval.adapters.xlora import PEFT_TYPE as XLORA
from peval.adapters.xlora import check_classifier, check_expert, expert_folders
from peval.errors import AdapterError
from peval.safetensors_file import read_header
from peval.strict_json import show

# What stands between a module's name and a tensor's own.
_INNER = frozenset({
    "base_layer", "token_adapter", "lora_A", "lora_B", "ln_tuning_layers", "oft_R",
})  # fmt: skip
_INITIALS = {"pissa": "PiSSA", "olora": "OLoRA"}


@dataclass(frozen=True)
class Checkpoint:
    """What vetting found; ``plan`` is None where no base was at hand.

    ``first`` is what the initial weights hold that a rewrite takes off the trained ones.
    ``encodes`` says that the base is an encoder-decoder. ``experts`` are those that X-LoRA mixes.
    """

    path: Path
    config: Config
    file: Path
    entries: Entries
    plan: Plan | None
    seen: Survey
    first: Survey | None = None
    encodes: bool = False
    experts: tuple[Checkpoint, ...] = ()

    @property
    def parts(self) -> tuple[Checkpoint, ...]:
        """The checkpoint, and the experts that it mixes."""
        return (self, *self.experts)

    @property
    def files(self) -> tuple[Path, ...]:
        """The file of its own tensors."""
        return (self.file,)

    @property
    def sha256(self) -> str:
        """A hash of the tensors and of what has an effect in the config."""
        content = self.config.fingerprint() + self.seen.sha256.encode()
        content += self.first.sha256.encode() if self.first else b""
        content += "".join(expert.sha256 for expert in self.experts).encode()
        return hashlib.sha256(content).hexdigest()

    @property
    def method(self) -> str:
        """The method's name as people write it."""
        return _method(self.config)

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that the adapter has tensors for."""
        tensors = (tensor for part in self.parts for tensor in part.entries)
        return tuple(sorted(set(_modules(tensors))))

    @property
    def route(self) -> Route:
        """How an engine can apply it."""
        return choose(self.config, self.entries, self.plan, self.encodes)

    @property
    def changes_nothing(self) -> bool:
        """Whether every module's update is exactly zero, and nothing but a head was trained."""
        if self.experts:
            return all(expert.changes_nothing for expert in self.experts)
        kinds = self.config.method.null_if_zero
        head = heads_of(self.entries) if self.config.has_head else {}
        null, live = set(), set()
        for tensor in self.entries:
            if tensor.endswith(".base_layer.weight") or tensor in head:
                continue  # frozen: PEFT stores it next to a LoRA on an embedding
            kind = next((k for k in kinds if tensor.endswith("." + k)), None)
            if kind is None:
                return False
            live.add(tensor.removesuffix("." + kind))
            if tensor in self.seen.zero:
                null.add(tensor.removesuffix("." + kind))
        return bool(live) and live == null


@dataclass(frozen=True)
class _Outline:
    """All of a checkpoint but its values, vetted; ``first`` is where its initial weights lie."""

    path: Path
    config: Config
    file: Path
    entries: Entries
    plan: Plan | None
    first: tuple[Path, Entries] | None
    encodes: bool
    experts: tuple[_Outline, ...]

    def read(self, dtype: str | None) -> Checkpoint:
        """Read the values; ``dtype`` is what an engine turns them into."""
        return Checkpoint(
            path=self.path,
            config=self.config,
            file=self.file,
            entries=self.entries,
            plan=self.plan,
            first=survey(*self.first, dtype) if self.first else None,
            seen=survey(self.file, self.entries, dtype),
            encodes=self.encodes,
            experts=tuple(expert.read(dtype) for expert in self.experts),
        )


def read_checkpoint(path: Path, base: BaseModel | None, dtype: str | None) -> Checkpoint:
    """Vet an adapter directory from its files; ``dtype`` is what an engine turns values into.

    Values are read last: what is malformed is refused at once, however large its files are.

    Raises
    ------
    AdapterError
        One line: the file, the field or tensor, and what is wrong with it.
    """
    return _outline(path, base).read(dtype)


def _outline(path: Path, base: BaseModel | None) -> _Outline:
    config = read_config(path)
    _check_task(config, base)
    experts = _experts(config, base)
    file = weights_file(path)
    entries = read_header(file, AdapterError)
    check_dtypes(file, entries)
    pairs = pair_tensors(file, entries) if config.method.peft_type == "LORA" else []
    check_ranks(file, pairs, config)
    if experts:
        plan: Plan | None = _mixed(file, entries, config, experts)
    else:
        plan = check(file, entries, config, base) if base is not None else None
    if plan is None:
        check_alone(file, entries, config, pairs)
    first = _first_weights(config, entries)
    encodes = config.is_sequence_to_sequence if base is None else base.is_encoder_decoder
    return _Outline(path, config, file, entries, plan, first, encodes, experts)


def _experts(config: Config, base: BaseModel | None) -> tuple[_Outline, ...]:
    """Vet the experts of an X-LoRA, each like an adapter of its own; none for other methods."""
    if config.method.peft_type != XLORA:
        return ()
    if config.settings.get("task_type") not in (None, "CAUSAL_LM"):
        config.refuse("task_type", "X-LoRA is served for CAUSAL_LM alone")
    width = config.settings.get("hidden_size")
    if base is not None and base.is_encoder_decoder:
        config.refuse("peft_type", "PEFT mixes no experts in an encoder-decoder")
    if base is not None and width != base.hidden_size:
        config.refuse("hidden_size", f"{show(width)}, the base has {base.hidden_size}")
    found = []
    for folder in expert_folders(config):
        check_links(folder)
        its = read_config(folder)  # before its tensors are: an expert has no experts
        if its.method.peft_type != "LORA":
            check_expert(config, folder, its.method.name, ())
        expert = _outline(folder, base)
        check_expert(config, folder, _method(expert.config), tuple(expert.entries))
        found.append(expert)
    return tuple(found)


def _mixed(file: Path, entries: Entries, config: Config, experts: tuple[_Outline, ...]) -> Plan:
    modules = set(_modules(tensor for expert in experts for tensor in expert.entries))
    return check_classifier(file, entries, config, len(experts), len(modules))


def _first_weights(config: Config, entries: Entries) -> tuple[Path, Entries] | None:
    """Vet the initial weights where a rewrite needs them: of the trained ones' names and shapes."""
    file = initial_file(config)
    if file is None or rewritten_rank(config, entries) is None:
        return None
    found = read_header(file, AdapterError)
    check_dtypes(file, found)
    for name, entry in entries.items():
        if name not in found:
            refuse(file, name, "is missing; the trained weights have it")
        if found[name].shape != entry.shape:
            refuse(file, name, f"has shape {show(list(found[name].shape))}, the trained one "
                   f"has {list(entry.shape)}")  # fmt: skip
    return file, found


def _check_task(config: Config, base: BaseModel | None) -> None:
    """Refuse an adapter for the other kind of model: PEFT would wrap the base as what it is not."""
    task = config.settings.get("task_type")
    if base is None or task is None or config.has_head:
        return
    if base.is_encoder_decoder != config.is_sequence_to_sequence:
        what = "an encoder-decoder" if base.is_encoder_decoder else "no encoder-decoder"
        config.refuse("task_type", f"{task}, but the base is {what}")


def _method(config: Config) -> str:
    """Return the method's name as people write it."""
    if config.method.peft_type != "LORA":
        return config.method.name
    variant = "DoRA" if config.flag("use_dora") else "LoRA"
    variant = _INITIALS.get(str(config.settings.get("init_lora_weights")), variant)
    if config.settings.get("alora_invocation_tokens"):
        variant = "aLoRA"
    return f"rs{variant}" if config.flag("use_rslora") else variant


def _modules(tensors: Iterable[str]) -> Iterator[str]:
    return (name for tensor in tensors if (name := _module(tensor)))


def _module(tensor: str) -> str | None:
    """Return the module that a tensor is for; None for what modules share."""
    if not tensor.startswith(PREFIX):
        return None
    parts = tensor.removeprefix(PREFIX).split(".")[:-1]
    while parts and parts[-1] in _INNER:
        parts.pop()
    return ".".join(parts) or None
