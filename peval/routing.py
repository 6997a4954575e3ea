"""Which way each adapter of a run takes, and in which engines the run is answered.

vLLM answers all that it can; what only transformers can apply is answered there, beside the base,
which is then the control of these adapters: two engines never round alike.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from peval import adapters as adapter_files
from peval.adapters.routes import NATIVE, PROMPT, REWRITE, ROUTES, may_take
from peval.errors import UsageError
from peval.estimate import CPU, Work, merging_is_faster
from peval.types import HF, MERGE, Adapter, Base, EngineSpec, Sample

# Methods whose changed base PEFT would compute anew; a rewrite has it from their first weights.
_REMADE = ("PiSSA", "OLoRA")


def routed(adapters: Sequence[Adapter], wanted: Sequence[str], engine: str) -> tuple[Adapter, ...]:
    """Return adapters on the routes that a person or the engine wants for them.

    Parameters
    ----------
    wanted
        ``ROUTE`` for all adapters, or ``ADAPTER=ROUTE``; the last that names one counts.
    engine
        With "hf", transformers applies everything. With "vllm", classification heads come with
        weights that take each other's place.

    Raises
    ------
    UsageError
        There is no such adapter or route.
    AdapterError
        An adapter cannot take its route.
    """
    names = {adapter.name for adapter in adapters}
    routes: dict[str, str] = {}
    for one in wanted:
        name, has_name, route = one.rpartition("=")
        if route not in ROUTES:
            raise UsageError(f"--route {one}: no such route; known: {', '.join(ROUTES)}")
        if has_name and name not in names:
            raise UsageError(f"--route {one}: no adapter {name!r}; there are {sorted(names)}")
        routes |= dict.fromkeys([name] if has_name else names, route)
    if engine == HF:
        routes = dict.fromkeys(names, HF)
    return tuple(adapter_files.routed(a, routes.get(a.name, _own(a))) for a in adapters)


def _own(adapter: Adapter) -> str:
    return MERGE if adapter.labels else adapter.route


def as_before(
    adapters: Sequence[Adapter], wanted: Sequence[str], before: Mapping[str, str]
) -> tuple[Adapter, ...]:
    """Return adapters on the routes, by hash, of the runs whose answers are to be taken over.

    What a person ``wanted`` comes first, as in `routed`.
    """
    kept = _named(wanted)
    return tuple(
        replace(a, route=before[a.sha256])
        if not kept & {a.name, ""} and may_take(a.route, before.get(a.sha256, ""))
        else a
        for a in adapters
    )


def faster(
    adapters: Sequence[Adapter],
    wanted: Sequence[str],
    before: Collection[str],
    work: Callable[[int], Work],
) -> tuple[Adapter, ...]:
    """Return adapters with all LoRAs merged in turn where that is faster than one batch.

    Parameters
    ----------
    wanted, before
        As above: adapters that a person or an earlier run gave a route keep it.
    work
        What so many adapters are to answer.
    """
    kept = _named(wanted)
    mine = [
        a for a in adapters
        if a.route in (NATIVE, REWRITE) and not a.is_apart and not a.method.endswith(_REMADE)
        and not kept & {a.name, ""} and a.sha256 not in before
    ]  # fmt: skip
    if not mine or not merging_is_faster(work(len(mine)), CPU):
        return tuple(adapters)
    return tuple(replace(a, route=MERGE) if a in mine else a for a in adapters)


def _named(wanted: Sequence[str]) -> set[str]:
    """Return the adapters that a person gave a route; "" stands for all."""
    return {one.rpartition("=")[0] for one in wanted}


def with_likelihoods(adapters: Sequence[Adapter], samples: Iterable[Sample]) -> tuple[Adapter, ...]:
    """Send trained prompts to transformers where likelihoods are asked for: vLLM has none there."""
    if all(a.route != PROMPT for a in adapters) or not any(map(_asks_likelihoods, samples)):
        return tuple(adapters)
    return tuple(replace(a, route=HF) if a.route == PROMPT else a for a in adapters)


def _asks_likelihoods(sample: Sample) -> bool:
    return bool(sample.choices) or any(q.continuations or q.rolling for q in sample.queries)


def with_control(
    adapters: Sequence[Adapter], base: Base, engine: str, with_base: bool
) -> tuple[Adapter, ...]:
    """Add the base in transformers where adapters there would else have no control.

    Raises
    ------
    UsageError
        An adapter has the control's name.
    """
    if engine == HF or not with_base or all(a.route != HF for a in adapters):
        return tuple(adapters)
    control = adapter_files.control(base)
    if any(a.name == control.name for a in adapters):
        raise UsageError(f"an adapter is called {control.name}, the name of the control; rename it")
    return (*adapters, control)


def specs(whole: EngineSpec) -> Iterator[EngineSpec]:
    """Yield the engines that a run needs, in the order in which they are asked.

    A checkpoint with another embedding or output layer cannot take the base's place in a live
    engine (vLLM 0.32 reloads a tied embedding wrongly), so it has one to itself. Classification
    heads share an engine if they have as many classes: they have no tied output layer. The last is
    transformers.
    """
    if whole.kind == HF:
        yield whole
        return
    second = [a for a in whole.adapters if a.route == HF]
    if any(a.labels for a in whole.adapters):
        yield from _with_heads(whole)
        if second:
            yield replace(whole, kind="hf", adapters=tuple(second), options={})
        return
    alone = [a for a in whole.adapters if a.route == MERGE and a.is_apart]
    rest = [a for a in whole.adapters if a not in second and a not in alone]
    yield replace(whole, adapters=tuple(rest))
    yield from (replace(whole, adapters=(one,)) for one in alone)
    if second:
        yield replace(whole, kind="hf", adapters=tuple(second), options={})


def _with_heads(whole: EngineSpec) -> Iterator[EngineSpec]:
    """Yield vLLM's engines for heads: one for those of as many classes over as many words."""
    alike: dict[tuple[int, int | None], list[Adapter]] = {}
    for adapter in (a for a in whole.adapters if a.route == MERGE):
        alike.setdefault((len(adapter.labels), adapter.vocabulary_size), []).append(adapter)
    yield from (replace(whole, adapters=tuple(members)) for members in alike.values())
