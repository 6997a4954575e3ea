"""The preflight equation: an adapter holds exactly the tensors that config and base ask for.

Engines accept adapters made for another width or depth, with half their tensors, or of another
method than the config says, and then answer wrongly without an error. Here every tensor must have
its place and every place its tensor, before any engine hears of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from peval.adapters.basemodel import PREFIX, BaseModel
from peval.adapters.config import Config
from peval.adapters.entries import Entries, check_shape, refuse
from peval.adapters.heads import head_of
from peval.adapters.required import PROMPTS, Plan, expected
from peval.errors import AdapterError
from peval.strict_json import show


def check(file: Path, entries: Entries, config: Config, base: BaseModel) -> Plan:
    """Hold an adapter's tensors against what its config and its base ask for.

    Raises
    ------
    AdapterError
        Names the first tensor that is missing, unused or of another shape.
    """
    head = head_of(file, entries, config, base)
    entries = {name: entry for name, entry in entries.items() if name not in head}
    plan = expected(file, entries, config, base)
    for name in entries:
        if name not in plan.required and name not in plan.optional:
            refuse(file, name, _why_unused(name, config, base, plan))
    for name, shape in plan.required.items():
        if name not in entries:
            _refuse_missing(file, name, entries, config, plan)
        check_shape(file, name, entries, shape)
    for name in plan.optional.keys() & entries.keys():
        check_shape(file, name, entries, plan.optional[name])
    _check_choices(file, entries, plan)
    return plan


def _check_choices(file: Path, entries: Entries, plan: Plan) -> None:
    """Where the config leaves a size open, all modules must have the same."""
    chosen: dict[tuple[str, int], str] = {}
    for name, wanted in plan.required.items():
        for axis, sizes in enumerate(wanted):
            if not isinstance(sizes, frozenset):
                continue
            size = entries[name].shape[axis]
            first = chosen.setdefault((_suffix(name, plan), axis), name)
            if entries[first].shape[axis] != size:
                refuse(file, name, f"has {size} along axis {axis}, {show(first)} has another")


def _why_unused(name: str, config: Config, base: BaseModel, plan: Plan) -> str:
    """Say why a tensor has no place."""
    method = config.method.name
    if config.method.peft_type in PROMPTS:
        return f"is not a tensor of {method}, which holds {', '.join(sorted(plan.required))}"
    if not name.startswith("base_model."):
        return "is not base_model.model.<module>.<tensor>"
    owner = base.owner(name)
    if owner is None:
        return base.why_absent(_guess(name, plan))
    if owner in {module.name for module in plan.modules}:
        return f"is not a tensor of {method} with these settings"
    return f"is for {show(owner)}, which the config does not name"


def _guess(name: str, plan: Plan) -> str:
    """Cut what looks like the tensor's own name off."""
    for suffix in sorted({_suffix(n, plan) for n in plan.required} - {""}, key=len, reverse=True):
        if name.endswith(suffix):
            return name.removeprefix(PREFIX).removesuffix(suffix)
    return name.removeprefix(PREFIX).rsplit(".", 1)[0]


def _suffix(tensor: str, plan: Plan) -> str:
    inner = tensor.removeprefix(PREFIX)
    return next(
        (inner.removeprefix(m.name) for m in plan.modules if inner.startswith(m.name + ".")), ""
    )


def _refuse_missing(
    file: Path, name: str, entries: Entries, config: Config, plan: Plan
) -> NoReturn:
    """Say what is missing: a tensor, or a module with all of its tensors."""
    module = next((m for m in plan.modules if name.startswith(f"{PREFIX}{m.name}.")), None)
    if module and not any(n.startswith(f"{PREFIX}{module.name}.") for n in entries):
        raise AdapterError(f"{file}: no tensors for {show(module.name)}, though target_modules "
                           "covers it")  # fmt: skip
    raise AdapterError(f"{file}: no tensor {show(name)}, which {config.method.name} with this "
                       "config needs")  # fmt: skip
