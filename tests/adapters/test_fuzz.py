"""Hostile and broken adapter directories: one clear line each, quickly, in little memory, offline.

Every case is vetted in the same process, whose address space is capped and whose sockets are shut.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import resource
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import TOY_BASE, finetune, make
from cpu_time import at_most
from safetensors.numpy import load_file, save_file

from peval.adapters import load_adapter
from peval.bases import load_base, weight_shapes
from peval.errors import AdapterError
from peval.inspection import inspect

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
LIMIT_S = 5.0  # of CPU time
LIMIT_BYTES = 1 << 30
SOURCES = (
    "lora", "loha", "ia3", "vera", "oft", "miss", "fourierft", "lokr", "prompt-tuning",
    "prefix-tuning", "multitask-prompt", "dora", "p-tuning", "pissa-initial",
)  # fmt: skip
Tensors = dict[str, np.ndarray]
Spoil = Callable[[Path], object]


def configure(**changes: Any) -> Spoil:
    def spoil(path: Path) -> None:
        found = json.loads((path / CONFIG).read_text())
        (path / CONFIG).write_text(json.dumps(found | changes))

    return spoil


def edit(change: Callable[[Tensors, str], object]) -> Spoil:
    def spoil(path: Path) -> None:
        tensors = load_file(path / WEIGHTS)
        change(tensors, sorted(tensors)[0])
        save_file(tensors, path / WEIGHTS)

    return spoil


def set_to(value: float) -> Callable[[Tensors, str], object]:
    def change(tensors: Tensors, name: str) -> None:
        tensors[name].flat[-1] = value

    return change


def reshape(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Tensors, str], object]:
    return lambda t, n: t.update({n: np.ascontiguousarray(change(t[n]))})


def raw_header(text: bytes, data: bytes = b"", length: int | None = None) -> Spoil:
    size = len(text) if length is None else length
    return lambda p: (p / WEIGHTS).write_bytes(size.to_bytes(8, "little") + text + data)


def entry(dtype: str = "F32", shape: object = (1,), offsets: object = (0, 4)) -> bytes:
    found = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
    return json.dumps({"base_model.model.x.lora_A.weight": found}).encode()


def write(name: str, data: bytes) -> Spoil:
    return lambda p: (p / name).write_bytes(data)


def truncate(share: float) -> Spoil:
    return lambda p: os.truncate(p / WEIGHTS, int((p / WEIGHTS).stat().st_size * share))


def rename(change: Callable[[str], str]) -> Spoil:
    return edit(lambda t, _: [t.update({change(n): t.pop(n)}) for n in list(t)])


def tokenizer(**changes: Any) -> Spoil:
    found = json.loads((TOY_BASE / "tokenizer.json").read_text())
    return write("tokenizer.json", json.dumps(found | changes).encode())


def many_tensors(n: int) -> Spoil:
    name = "base_model.model.model.layers.{}.self_attn.q_proj.lora_{}.weight"
    header = {
        name.format(i // 2, "AB"[i % 2]): {
            "dtype": "F16", "shape": [1, 1], "data_offsets": [2 * i, 2 * i + 2]}
        for i in range(n)
    }  # fmt: skip
    return raw_header(json.dumps(header).encode(), bytes(2 * n))


def add_metadata(path: Path, value: object) -> None:
    data = (path / WEIGHTS).read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size]) | {"__metadata__": value}
    raw_header(json.dumps(header).encode(), data[8 + size :])(path)


def link_out(name: str) -> Spoil:
    def spoil(path: Path) -> None:
        (path / name).rename(path.parent / f"elsewhere-{name}")
        (path / name).symlink_to(path.parent / f"elsewhere-{name}")

    return spoil


def link_to(target: str) -> Spoil:
    return lambda p: ((p / WEIGHTS).unlink(), (p / WEIGHTS).symlink_to(target))


def template(text: str) -> Spoil:
    return write("chat_template.jinja", text.encode())


SLOW = "{% for a in range(99999) %}" * 2 + "{% break if a > 300 %}" + "{% endfor %}" * 2
LOOPS = "{% for a in range(99999) %}" * 3 + "x" + "{% endfor %}" * 3
# What any of the source adapters can suffer.
ANYWHERE: dict[str, Spoil] = {
    "truncated": truncate(0.5),
    "header only": truncate(0.01),
    "one byte short": lambda p: os.truncate(p / WEIGHTS, (p / WEIGHTS).stat().st_size - 1),
    "one byte more": lambda p: os.truncate(p / WEIGHTS, (p / WEIGHTS).stat().st_size + 1),
    "NaN": edit(set_to(math.nan)),
    "inf": edit(set_to(math.inf)),
    "no tensors": edit(lambda t, n: t.clear()),
    "a tensor less": edit(lambda t, n: t.pop(n)),
    "a foreign tensor": edit(lambda t, n: t.update({"transformer.wte.weight": t[n]})),
    "another module": edit(lambda t, n: t.update({n.replace("layers.0", "layers.9") + "x": t[n]})),
    "twice as long": edit(reshape(lambda a: np.concatenate([a, a]))),
    "a dimension more": edit(reshape(lambda a: a[None])),
    "whole numbers": edit(reshape(lambda a: a.astype(np.int64))),
    "empty tensor": edit(reshape(lambda a: a[:0])),
    "task of a classifier": configure(task_type="SEQ_CLS"),
    "unknown switch": configure(use_quantum=True),
    "unknown number": configure(extra_scale=0.5),
    "imports a module": configure(auto_mapping={"parent_library": "os"}),
    "another base": configure(base_model_name_or_path="org/other"),
    "base beyond names": configure(base_model_name_or_path="x" * 5000),
}  # fmt: skip
# What may lie beside the weights of any of them.
BESIDE: dict[str, Spoil] = {
    "tokenizer is cut": write("tokenizer.json", b'{"model": {'),
    "tokenizer is deep": write("tokenizer.json", b'{"a":' * 100_000),
    "tokenizer twice": write("tokenizer.json", b'{"model": {}, "model": {}}'),
    "tokenizer of many values": write("tokenizer.json", b'{"a":[' + b"[]," * 20_000_000 + b"[]]}"),
    "tokenizer panics": tokenizer(
        normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
    "tokenizer of no model": tokenizer(model={"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}),
    "tokenizer that repeats": tokenizer(post_processor={
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "z", "type_id": 0}}] * 3000
                  + [{"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"z": {"id": "z", "ids": [1] * 3000, "tokens": ["a"] * 3000}}}),
    "tokenizer of patterns": write("tokenizer.json", json.dumps(
        {"model": {}, "pre_tokenizer": {"pretokenizers": [{"pattern": {"Regex": "(a+)+$"}}]}}
    ).encode()),
    "templates elsewhere": lambda p: (
        shutil.copytree(p, p.parent / "more"),
        (p.parent / "more" / "tool.jinja").write_text("x"),
        (p / "additional_chat_templates").symlink_to(p.parent / "more")),
    "a template elsewhere": lambda p: (
        (p / "additional_chat_templates").mkdir(),
        (p / "additional_chat_templates" / "tool.jinja").symlink_to("/etc/passwd")),
    "first weights elsewhere": lambda p: (
        (p / "pissa_init").mkdir(exist_ok=True),
        (p / "pissa_init" / WEIGHTS).unlink(missing_ok=True),
        (p / "pissa_init" / WEIGHTS).symlink_to("/dev/zero")),
}  # fmt: skip

EVIL = ("(a+)+$", "(.*)*x", "(a|aa)+$", ".*" * 9 + "x", "(?=.*a)(?=.*b).*", r"(\w+\s?)*$", "(", "[",
        "a{1000}{1000}", "(?P<n>a)(?P=n)", "x" * 5000 + "+", "((((a*)*)*)*)*b")  # fmt: skip
LORA: dict[str, Spoil] = {
    **{f"rank {r!r}": configure(r=r) for r in (0, -1, 10**9, 10**30, 1.5, "4", None, True, [4])},
    **{
        f"alpha {a!r}": configure(lora_alpha=a)
        for a in (0, math.nan, math.inf, -math.inf, 10**400, "8", [], True)
    },
    **{f"target {e[:20]!r}": configure(target_modules=e) for e in EVIL},
    **{f"exclude {e[:20]!r}": configure(exclude_modules=e) for e in EVIL},
    **{f"rank_pattern {e[:20]!r}": configure(rank_pattern={e: 4}) for e in EVIL},
    **{f"alpha_pattern {e[:20]!r}": configure(alpha_pattern={e: 4}) for e in EVIL},
    **{f"saved {e[:20]!r}": configure(modules_to_save=[e]) for e in EVIL},
    **{
        f"layers {e[:20]!r}": configure(layers_to_transform=[0], layers_pattern=e) for e in EVIL
    },
    "rank_pattern of 10**9": configure(rank_pattern={"q_proj": 10**9}),
    "rank_pattern of rank 0": configure(rank_pattern={"q_proj": 0}),
    "a million patterns": configure(rank_pattern={f"m{i}": 4 for i in range(30_000)}),
    "targets of numbers": configure(target_modules=[1, 2]),
    "targets nothing": configure(target_modules=["nothing"]),
    "layer of text": configure(layers_to_transform=["0"]),
    "layer not trained": configure(layers_to_transform=[0]),
    "IA3 over LoRA": configure(peft_type="IA3"),
    "prompt tuning over LoRA": configure(peft_type="PROMPT_TUNING", num_virtual_tokens=4),
    "X-LoRA over paths": write(
        CONFIG, b'{"peft_type": "XLORA", "hidden_size": 128, "adapters": {"0": "/etc"}}'),
    "method of numbers": configure(peft_type=7),
    "method unknown": configure(peft_type="../../etc/passwd"),
    "token of 10**12": configure(trainable_token_indices=[10**12]),
    "many ranks to compile": configure(
        rank_pattern={f"(a|b){i}.*x{i}": 4 for i in range(9999)}),
    "many scales to compile": configure(
        alpha_pattern={f"(a|b){i}.*x{i}": 4 for i in range(9999)}),
    "many saved modules": configure(modules_to_save=[f"m{i}" for i in range(30_000)]),
    "many layer patterns": configure(
        layers_to_transform=[0], layers_pattern=[f"m{i}" for i in range(30_000)]),
    "aLoRA of text": configure(alora_invocation_tokens="abc"),
    "aLoRA below zero": configure(alora_invocation_tokens=[-1]),
    "tokens twice": configure(trainable_token_indices=[1, 1]),
    "tokens of another module": configure(trainable_token_indices={"/etc": [1]}),
    "random start": configure(init_lora_weights="pissa_niter_16"),
    "unknown start": configure(init_lora_weights="__import__('os')"),
    "bias of nothing": configure(bias="/etc/passwd"),
    "Megatron core": configure(megatron_config={"a": 1}, megatron_core="antigravity"),
    "runs code": configure(custom_modules={"torch.nn.Linear": "os.system"}),
    "absolute path": configure(eva_weights="/etc/passwd"),
    "infinity as JSON": write(CONFIG, b'{"peft_type": "LORA", "r": Infinity}'),
    "config is empty": write(CONFIG, b""),
    "config is null": write(CONFIG, b"null"),
    "config is deep": write(CONFIG, b'{"a":' * 100_000),
    "config is long": write(CONFIG, b'{"a": "' + b"x" * (1 << 22) + b'"}'),
    "config twice": write(CONFIG, b'{"r": 4, "r": 8, "peft_type": "LORA"}'),
    "config is Latin-1": write(CONFIG, '{"r": "é"}'.encode("latin-1")),
    "config is a directory": lambda p: ((p / CONFIG).unlink(), (p / CONFIG).mkdir()),
    "config is a pipe": lambda p: ((p / CONFIG).unlink(), os.mkfifo(p / CONFIG)),
    "config loops": lambda p: ((p / CONFIG).unlink(), (p / CONFIG).symlink_to(p / CONFIG)),
    "config is a device": lambda p: ((p / CONFIG).unlink(), (p / CONFIG).symlink_to("/dev/zero")),
    "config lies elsewhere": link_out(CONFIG),
    "weights lie elsewhere": link_out(WEIGHTS),
    "weights are a device": link_to("/dev/zero"),
    "weights are the host's": link_to("/etc/passwd"),
    "weights are a pipe": lambda p: ((p / WEIGHTS).unlink(), os.mkfifo(p / WEIGHTS)),
    "weights are a directory": lambda p: ((p / WEIGHTS).unlink(), (p / WEIGHTS).mkdir()),
    "no weights": lambda p: (p / WEIGHTS).unlink(),
    "no config": lambda p: (p / CONFIG).unlink(),
    "empty directory": lambda p: (shutil.rmtree(p), p.mkdir()),
    "no directory": lambda p: shutil.rmtree(p),
    "a file": lambda p: (shutil.rmtree(p), p.write_text("x")),
    "pickle": lambda p: (p / WEIGHTS).rename(p / "adapter_model.bin"),
    "pickle under the name": write(WEIGHTS, b"\x80\x04cos\nsystem\n(S'true'\ntR."),
    "zip under the name": write(WEIGHTS, b"PK\x03\x04" + bytes(100)),
    "LFS pointer": write(WEIGHTS, b"version https://git-lfs.github.com/spec/v1\noid sha256:0"),
    "header of 2**63": raw_header(b"{}", length=2**63),
    "header of 40 MB": lambda p: raw_header(b"{" + b" " * 40_000_000 + b"}")(p),
    "header of spaces": lambda p: raw_header(b" " * 30_000_000)(p),
    "header is an array": raw_header(b"[]"),
    "header is deep": raw_header(b'{"a":' * 200_000),
    "header with a name twice": raw_header(entry()[:-1] + b", " + entry()[1:], bytes(4)),
    "shape overflows": raw_header(entry(shape=(2**40, 2**40)), bytes(4)),
    "shape below zero": raw_header(entry(shape=(-1,)), bytes(4)),
    "shape of text": raw_header(entry(shape=("1",)), bytes(4)),
    "offsets backwards": raw_header(entry(offsets=(4, 0)), bytes(4)),
    "offsets beyond": raw_header(entry(shape=(1000,), offsets=(0, 4000)), bytes(4)),
    "offsets leave a gap": raw_header(entry(offsets=(4, 8)), bytes(8)),
    "dtype of tomorrow": raw_header(entry(dtype="F2"), bytes(4)),
    "dtype complex": raw_header(entry(dtype="C64", offsets=(0, 8)), bytes(8)),
    "entry without a shape": raw_header(b'{"x": {"dtype": "F32", "data_offsets": [0, 4]}}'),
    "a name of a megabyte": edit(lambda t, n: t.update({"x" * (1 << 20): t[n]})),
    "a name of 50,000 parts": edit(lambda t, n: t.update(
        {"base_model.model." + "a." * 50_000 + "weight": t[n]})),
    "a prefix twice": rename(lambda n: f"base_model.model.{n}"),
    "a wrapper in the names": rename(
        lambda n: n.replace("model.layers", "_fsdp_wrapped_module.model.layers")),
    "a model in the model": rename(lambda n: n.replace("model.layers", "model.model.layers")),
    "names of another script": rename(lambda n: n.replace("layers.1", "layers.١")),
    "names of the trainer": rename(lambda n: n.replace(".weight", ".default.weight")),
    "40,000 tensors": many_tensors(40_000),
    "metadata is a number": lambda p: add_metadata(p, 5),
    "metadata is deep": lambda p: add_metadata(p, {"a": {"b": 1}}),
    "shape of 100,000 ones": raw_header(entry(shape=[1] * 100_000), bytes(4)),
    "a name of line breaks": edit(lambda t, n: t.update({"a\nb\x1b[2J": t[n]})),
    "a name of paths": edit(lambda t, n: t.update({"../../../etc/passwd": t[n]})),
    "template of loops": template(LOOPS),
    "template of memory": template("{{ 'a' * 5000000000 }}"),
    "template of growth": template("{% set ns = namespace(x='ab') %}{% for i in range(99) %}"
                                   "{% set ns.x = ns.x * 2 %}{% endfor %}{{ ns.x }}"),
    "template of digits": template("{{ 9 ** 999999999 }}"),
    "template escapes": template("{{ ''.__class__.__mro__[1].__subclasses__()() }}"),
    "template of long answers": template(
        "{% set x = 'a' * 100000 %}{% for i in range(99999) %}{{ x }}{% endfor %}"),
    "many templates": write("tokenizer_config.json", json.dumps({"chat_template": [
        {"name": str(i), "template": "x"} for i in range(10_000)]}).encode()),
    "many slow templates": write("tokenizer_config.json", json.dumps({"chat_template": [
        {"name": str(i), "template": SLOW} for i in range(9)]}).encode()),
    "template is none": template("{% for m in messages %}"),
    "template is deep": template("(" * 5 + "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}"),
    "template is huge": template("x" * (1 << 22)),
    "template in the tokenizer": write(
        "tokenizer_config.json",
        json.dumps({"chat_template": LOOPS}).encode(),
    ),
}  # fmt: skip
PROMPT: dict[str, Spoil] = {
    "no tokens": configure(num_virtual_tokens=0),
    "10**12 tokens": configure(num_virtual_tokens=10**12),
    "more tokens": configure(num_virtual_tokens=5),
    "another width": configure(token_dim=64),
    "more layers": configure(num_layers=5),
    "three models": configure(num_transformer_submodules=3),
    "saved modules": configure(modules_to_save=["lm_head"]),
}
BESIDE_OF = ("lora", "prompt-tuning", "pissa-initial")
PROMPTED = ("prompt-tuning", "p-tuning", "prefix-tuning", "multitask-prompt")

CASES: dict[str, tuple[str, Spoil]] = {
    **{f"{source}: {k}": (source, v) for source in SOURCES for k, v in ANYWHERE.items()},
    **{f"{source}: {k}": (source, v) for source in BESIDE_OF for k, v in BESIDE.items()},
    **{f"lora: {k}": ("lora", v) for k, v in LORA.items()},
    **{f"{source}: {k}": (source, v) for source in PROMPTED for k, v in PROMPT.items()},
    "prompt-tuning: another checkpoint": (
        "prompt-tuning",
        configure(prompt_tuning_init_state_dict_path="/etc/passwd"),
    ),
    "pissa-initial: first weights of NaN": (
        "pissa-initial",
        lambda p: edit(set_to(math.nan))(p / "pissa_init"),
    ),
    "pissa-initial: first weights of another shape": (
        "pissa-initial",
        lambda p: edit(reshape(lambda a: np.concatenate([a, a])))(p / "pissa_init"),
    ),
    "pissa-initial: a first weight less": (
        "pissa-initial",
        lambda p: edit(lambda t, n: t.pop(n))(p / "pissa_init"),
    ),
    "pissa-initial: first weights cut": (
        "pissa-initial",
        lambda p: os.truncate(p / "pissa_init" / WEIGHTS, 100),
    ),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("sources")
    return {name: make(name, place / name, place) for name in SOURCES}


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Cap the address space at what is in use and 1 GiB more, and shut the network."""

    def shut(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", shut)
    monkeypatch.setattr(socket, "getaddrinfo", shut)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + LIMIT_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 200


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_a_malformed_directory_ends_in_one_line(
    case: str, sources: dict[str, Path], tmp_path: Path, bounded: None
) -> None:
    source, spoil = CASES[case]
    path = shutil.copytree(sources[source], tmp_path / "adapter")
    base = load_base(str(TOY_BASE))
    shapes = weight_shapes(base)
    spoil(path)
    with at_most(LIMIT_S), pytest.raises(AdapterError) as caught:
        load_adapter(path, "x", base, shapes)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.isprintable()
    assert len(message) < len(str(path)) + 500
    if "template" not in case:  # without its base less can be checked, but nothing may break
        with contextlib.suppress(AdapterError):
            inspect(path, None, True)
        with contextlib.suppress(AdapterError):
            load_adapter(path, "x", None, None)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(150))
def test_random_damage_is_refused_or_harmless(
    seed: int, sources: dict[str, Path], tmp_path: Path, bounded: None
) -> None:
    """Bytes changed in header or config: an AdapterError, or an adapter that still fits."""
    random_ = random.Random(seed)
    source = random_.choice(SOURCES)
    path = shutil.copytree(sources[source], tmp_path / "adapter")
    file = path / random_.choice([CONFIG, WEIGHTS])
    data = bytearray(file.read_bytes())
    for _ in range(random_.randint(1, 4)):
        data[random_.randrange(min(len(data), 3000))] = random_.randrange(256)
    file.write_bytes(data)
    base = load_base(str(TOY_BASE))
    with at_most(LIMIT_S):
        try:
            load_adapter(path, "x", base, weight_shapes(base))
        except AdapterError as error:
            assert str(error).isprintable()


def whole(change: Callable[[Tensors, str], object]) -> Spoil:
    def spoil(path: Path) -> None:
        tensors = load_file(path / MODEL)
        change(tensors, "model.layers.0.self_attn.q_proj.weight")
        save_file(tensors, path / MODEL)

    return spoil


def index(name: str) -> Spoil:
    found = {"weight_map": {"model.norm.weight": name}}
    return write(f"{MODEL}.index.json", json.dumps(found).encode())


MODEL = "model.safetensors"
WHOLE: dict[str, Spoil] = {
    "truncated": lambda p: os.truncate(p / MODEL, (p / MODEL).stat().st_size // 2),
    "NaN": whole(lambda t, n: t[n].__setitem__((0, 0), math.nan)),
    "a tensor less": whole(lambda t, n: t.pop(n)),
    "a tensor more": whole(lambda t, n: t.update({"more": t[n]})),
    "another size": whole(reshape(lambda a: a[:-1])),
    "whole numbers": whole(reshape(lambda a: a.astype(np.int8))),
    "a biased layer": whole(lambda t, n: t.update({n.replace("weight", "bias"): t[n][0]})),
    "only a pickle": lambda p: (p / MODEL).rename(p / "pytorch_model.bin"),
    "no weights": lambda p: (p / MODEL).unlink(),
    "weights elsewhere": link_out(MODEL),
    "index leads out": index("../../other.safetensors"),
    "index leads to the host": index("/etc/passwd"),
    "index names nothing": write(f"{MODEL}.index.json", b"{}"),
    "config is empty": write("config.json", b""),
    "config of other layers": write("config.json", b'{"num_hidden_layers": 2}'),
    "config runs code": lambda p: _model_config(p, auto_map={"AutoModel": "evil.Model"}),
    "config chooses kernels": lambda p: _model_config(p, _attn_implementation_internal="x/y"),
    "config of other angles": lambda p: _model_config(p, rope_parameters={"rope_theta": 5.0}),
    "template of loops": template(LOOPS),
    "end is a word": write("generation_config.json", b'{"eos_token_id": "</s>"}'),
    "end is deep": write("generation_config.json", b'{"a":' * 100_000),
    "tokenizer is an array": write("tokenizer.json", b"[]"),
    "header of 2**63": lambda p: (p / MODEL).write_bytes(b"\xff" * 7 + b"\x7f{}"),
    "header of 40 MB": lambda p: (p / MODEL).write_bytes(
        (40_000_000).to_bytes(8, "little") + b"{" + b" " * 39_999_998 + b"}"),
    "pickle under the name": write(MODEL, b"\x80\x04cos\nsystem\n(S'true'\ntR."),
    "shards twice": lambda p: (
        shutil.copy(p / MODEL, p / "model-00002.safetensors"),
        (p / MODEL).rename(p / "model-00001.safetensors")),
}  # fmt: skip


def _model_config(path: Path, **changes: Any) -> None:
    found = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(found | changes))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finetune(TOY_BASE, tmp_path_factory.mktemp("tuned") / "model", "q_proj")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", WHOLE)
def test_a_malformed_finetune_ends_in_one_line(
    case: str, tuned: Path, tmp_path: Path, bounded: None
) -> None:
    path = shutil.copytree(tuned, tmp_path / "model")
    base = load_base(str(TOY_BASE))
    shapes = weight_shapes(base)
    WHOLE[case](path)
    with at_most(LIMIT_S), pytest.raises(AdapterError) as caught:
        load_adapter(path, "x", base, shapes)
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).isprintable()


@pytest.mark.filterwarnings("ignore")
def test_first_weights_count_for_the_hash(sources: dict[str, Path], tmp_path: Path) -> None:
    path = shutil.copytree(sources["pissa-initial"], tmp_path / "adapter")
    base = load_base(str(TOY_BASE))
    before = load_adapter(path, "x", base, weight_shapes(base))
    edit(set_to(0.5))(path / "pissa_init")
    assert load_adapter(path, "x", base, weight_shapes(base)).sha256 != before.sha256


UNUSUAL: dict[str, tuple[str, Spoil]] = {
    "half precision": ("lora", edit(lambda t, n: t.update(
        {k: v.astype(np.float16) for k, v in t.items()}))),
    "double precision": ("loha", edit(lambda t, n: t.update(
        {k: v.astype(np.float64) for k, v in t.items()}))),
    "no base named": ("lora", configure(base_model_name_or_path=None)),
    "no task type": ("lora", configure(task_type=None)),
    "alpha is a fraction": ("lora", configure(lora_alpha=0.5)),
    "alpha below zero": ("lora", configure(lora_alpha=-8)),
    "dropout": ("lora", configure(lora_dropout=0.9)),
    "another PEFT": ("lora", configure(peft_version="99.0.0")),
    "switches that are off": ("lora", configure(use_quantum=False, later_option=None, more={})),
    "sloth": ("lora", configure(unsloth_fixed=True)),
    "full patterns": ("lora", configure(
        rank_pattern={f"model.layers.{i}.self_attn.q_proj": 4 for i in range(4)})),
    "pattern as target": ("lora", configure(target_modules=r".*\.self_attn\.(q_proj|v_proj)$")),
    "long list of targets": ("lora", configure(
        target_modules=[f"model.layers.{i}.self_attn.{n}_proj" for i in range(4) for n in "qv"])),
    "a target too many": ("lora", configure(target_modules=["q_proj", "v_proj", "c_attn"])),
    "an exclusion without effect": ("lora", configure(exclude_modules=["lm_head"])),
    "layers that are all": ("lora", configure(layers_to_transform=[0, 1, 2, 3])),
    "a layer pattern": ("lora", configure(
        layers_to_transform=[0, 1, 2, 3], layers_pattern="layers")),
    "other files": ("lora", write("README.md", b"# hello")),
    "a link within": ("lora", lambda p: (
        (p / WEIGHTS).rename(p / "w"), (p / WEIGHTS).symlink_to("w"))),
    "an untrained half": ("lora", edit(lambda t, n: t[n].fill(0))),
    "a trainer's pickle beside it": ("lora", write("training_args.bin", b"\x80\x04.")),
    "a chat template": ("lora", template(
        "{% for m in messages %}{% generation %}{{ m['content'] | trim }}{% endgeneration %}"
        "{% endfor %}{{ raise_exception('no') if not messages }}")),
    "numbers as floats": ("loha", configure(alpha=8.0)),
    "no sizes of the base": ("prompt-tuning", configure(token_dim=None, num_layers=None)),
    "the base's tokenizer, filled up": ("lora", lambda p: (
        shutil.copy(TOY_BASE / "tokenizer_config.json", p),
        (p / "tokenizer.json").write_text(json.dumps(
            json.loads((TOY_BASE / "tokenizer.json").read_text())
            | {"padding": {"strategy": "BatchLongest"}, "truncation": {"max_length": 9}})))),
    "more templates": ("lora", lambda p: (
        (p / "additional_chat_templates").mkdir(),
        (p / "additional_chat_templates" / "tool.jinja").write_text("{{ messages | length }}"))),
    "metadata": ("lora", lambda p: save_file(
        load_file(p / WEIGHTS), p / WEIGHTS, metadata={"format": "pt", "note": "x" * 9999})),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", UNUSUAL)
def test_a_valid_but_unusual_directory_is_accepted(
    case: str, sources: dict[str, Path], tmp_path: Path, bounded: None
) -> None:
    source, change = UNUSUAL[case]
    path = shutil.copytree(sources[source], tmp_path / "adapter")
    base = load_base(str(TOY_BASE))
    change(path)
    assert load_adapter(path, "x", base, weight_shapes(base)).sha256
    assert len(UNUSUAL) >= 20
