"""An engine whose adapters are proven to be applied before any of their answers is given away.

The proof's requests ride in the run's own stream, an adapter's before its first request, so that
no engine starts twice and no weights are merged twice. Of classification heads the classes'
log-probabilities are compared; a base has none. The reference is transformers with peft in one
worker for all adapters, beside the engine's start on a CPU and gone before it where both would not
fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from peval import engines, machine, proof
from peval.adapters.routes import PROMPT
from peval.bases import weight_files
from peval.errors import EngineError
from peval.prepare import ON_CPU, Setup
from peval.progress import Progress
from peval.prompts import Tokenizer
from peval.proof import Proof
from peval.rundir import PROOFS, digest
from peval.tokenizer import load_tokenizer
from peval.types import HF, Adapter, Completion, Engine, EngineSpec, Request

BESIDE_BYTES = 1 << 30
"""The largest base, in bytes, whose reference is computed beside the engine's start on a CPU."""
ON_CPU_BYTES = 3 << 30
"""The largest base that a CPU computes a reference for, which takes it in float32 too."""
_HEADS = "a classification head is asked in transformers itself, and the base has none"

OpenReference = Callable[[EngineSpec], Engine]


def proven(
    engine: Engine, setup: Setup, progress: Progress, open_reference: OpenReference | None = None
) -> Engine:
    """Return an engine that proves what it applies, where the job wants that.

    ``open_reference`` of None leaves the comparison with transformers out. Proofs are noted in the
    run's manifest: without one there is no run to be proven.
    """
    if setup.job.proof == "off" or not setup.adapters or not setup.rundir.manifest.exists():
        return engine
    return ProvenEngine(engine, setup, progress, open_reference)


def open_reference(setup: Setup) -> OpenReference:
    """Return what opens transformers for a setup."""
    log = setup.rundir.path / "reference.log"
    return lambda spec: engines.SupervisedEngine(spec, log)


class ProvenEngine:
    """See the module; an `Engine`."""

    def __init__(
        self, engine: Engine, setup: Setup, progress: Progress, opener: OpenReference | None
    ) -> None:
        self._engine, self._setup, self._progress = engine, setup, progress
        held = setup.rundir.read_manifest().get(PROOFS, {})
        every = [a for a in setup.adapters if not (a.is_control or a.name in held)]
        for adapter in (a for a in every if a.labels and a.route == HF):
            self._note(Proof(adapter.name, why_none=_HEADS))
        every = [a for a in every if not (a.labels and a.route == HF)]
        self._open = [a for a in every if not self._recall(a)]
        self._compared = tuple(replace(a, route=HF) for a in self._open if a.route != HF)
        n_bytes = sum(file.stat().st_size for file in weight_files(setup.base.path))
        on_cpu = setup.serving.engine.endswith(ON_CPU)
        self._fit_together = on_cpu and n_bytes <= BESIDE_BYTES
        self._why_none: str | None = None
        if opener is None:
            self._why_none = "a live engine leaves no room for a second copy of the base"
        elif on_cpu and n_bytes > ON_CPU_BYTES:
            self._why_none = f"a base of {n_bytes / 1e9:.0f} GB is too large for a CPU to check"
        self._reference: Engine | None = None
        if self._compared and opener is not None and self._why_none is None:
            options = {"threads": 1} if self._fit_together else {}
            spec = replace(setup.spec(), kind="reference", adapters=self._compared, options=options)
            self._reference = opener(spec)
        self._theirs: dict[str, Completion] = {}

    @property
    def n_restarts(self) -> int:
        """How often the engine was replaced."""
        return int(getattr(self._engine, "n_restarts", 0))

    @property
    def up_at_s(self) -> float | None:
        """When the engine gave its first answer."""
        return getattr(self._engine, "up_at_s", None)

    def launch(self) -> None:
        """Begin to start the reference, and the engine too where both fit."""
        if self._reference is not None:
            self._reference.launch()
        if self._reference is None or self._fit_together:
            self._engine.launch()

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion per distinct request key; see `Engine`.

        Raises
        ------
        EngineError
            Also where an adapter's answers are not the reference's and the job does not go on.
        """
        asked = list(requests)
        owners = {request.key: request.adapter for request in reversed(asked)}
        names = set(owners.values())
        wanted = [adapter for adapter in self._open if adapter.name in names]
        if not wanted:
            yield from self._engine.complete(asked)
            return
        tokenizer = load_tokenizer(self._setup.base)
        self._ask_reference(tokenizer)
        probes = self._probes(wanted, tokenizer)
        found: dict[str, Completion] = {}
        held: dict[str | None, list[Completion]] = {adapter.name: [] for adapter in wanted}
        for completion in self._engine.complete(_with_probes(asked, probes)):
            if completion.key in owners:
                mine = held.get(owners[completion.key])
                if mine is None:
                    yield completion
                else:
                    mine.append(completion)
                continue
            found[completion.key] = completion
            for adapter in [a for a in wanted if a.name in held]:
                both = (*probes[adapter.name], *probes.get(self._base_of(adapter), ()))
                if all(request.key in found for request in both):
                    self._conclude(adapter, found)
                    self._open.remove(adapter)
                    yield from held.pop(adapter.name)

    def close(self) -> None:
        """Free the device; safe to call twice."""
        if self._reference is not None:
            self._reference.close()
        self._engine.close()

    def _base_of(self, adapter: Adapter) -> str | None:
        """Return the system that an adapter is held against: the base beside it."""
        controls = [a.name for a in self._setup.adapters if a.is_control]
        return controls[0] if controls and adapter.route == HF else None

    def _probes(
        self, wanted: Sequence[Adapter], tokenizer: Tokenizer
    ) -> dict[str | None, list[Request]]:
        """Return the proof's requests by system, the bases' first."""
        bases = dict.fromkeys(self._base_of(a) for a in wanted if not a.labels)
        found = {name: proof.requests(tokenizer, name) for name in bases}
        return found | {a.name: _probes_of(a, tokenizer) for a in wanted}

    def _ask_reference(self, tokenizer: Tokenizer) -> None:
        """Ask transformers, and let go of it before more is asked of the engine."""
        if self._reference is None or self._theirs or self._why_none:
            return
        has_base = not all(adapter.labels for adapter in self._compared)
        asked = proof.requests(tokenizer, None) if has_base else []
        asked += [r for adapter in self._compared for r in _probes_of(adapter, tokenizer)]
        try:
            self._theirs = {one.key: one for one in self._reference.complete(asked)}
        except EngineError as error:
            self._why_none = f"transformers failed: {error}"
        finally:
            self._reference.close()

    def _conclude(self, adapter: Adapter, found: Mapping[str, Completion]) -> None:
        """Judge one adapter, and the base beside the first of them."""
        name, dtype = self._base_of(adapter), self._setup.serving.dtype
        if adapter.labels:
            n = len(adapter.labels)
            own, theirs = (proof.said(adapter.name, one, n) for one in (found, self._theirs))
            known = theirs if self._theirs else self._why_none or ""
            self._accept(adapter, proof.judged_head(adapter.name, dtype, own, known))
            return
        mine, base = proof.said(adapter.name, found), proof.said(name, found)
        if adapter.route == HF:
            why = "transformers itself answers"
            self._accept(adapter, proof.judged(adapter.name, dtype, mine, base, why))
            return
        if not self._theirs:
            why = self._why_none or ""
            self._accept(adapter, proof.judged(adapter.name, dtype, mine, base, why))
            return
        theirs, their_base = (proof.said(one, self._theirs) for one in (adapter.name, None))
        if "" not in self._held():
            self._accept(None, proof.judged(None, dtype, base, base, (their_base, their_base)))
        self._accept(adapter, proof.judged(adapter.name, dtype, mine, base, (theirs, their_base)))

    def _held(self) -> dict[str, Any]:
        found: dict[str, Any] = self._setup.rundir.read_manifest().get(PROOFS, {})
        return found

    def _accept(self, adapter: Adapter | None, found: Proof) -> None:
        """Note what was found, unless it has to stop the run."""
        if found.agrees is False:
            said = proof.complaint(found, self._setup.serving.dtype)
            if self._setup.job.proof == "stop":
                raise EngineError(said)
            self._progress.note(said)
        if found.agrees and adapter is not None:
            machine.keep(self._cache_name(adapter), asdict(found))
        self._note(found)

    def _note(self, found: Proof) -> None:
        rundir = self._setup.rundir
        held = self._held() | {found.adapter or "": asdict(found)}
        rundir.write_manifest(rundir.read_manifest() | {PROOFS: held})

    def _recall(self, adapter: Adapter) -> bool:
        """Take over what an earlier run on this machine found; tell whether it found anything."""
        held = machine.recall(self._cache_name(adapter))
        try:
            found = Proof(**held)
        except TypeError:
            return False
        self._note(replace(found, adapter=adapter.name, is_cached=True))
        return True

    def _cache_name(self, adapter: Adapter) -> str:
        """Name everything on which a proof depends."""
        serving, base = self._setup.serving, self._setup.base.sha256
        engine = [serving.engine, serving.dtype, dict(serving.options), engines.fingerprint(HF)]
        return f"proof {digest([proof.VERSION, base, adapter.sha256, adapter.route, *engine])}"


def _probes_of(adapter: Adapter, tokenizer: Tokenizer) -> list[Request]:
    """Return the proof's requests for an adapter."""
    if adapter.labels:
        return proof.head_requests(tokenizer, adapter)
    return proof.requests(tokenizer, adapter.name, adapter.route != PROMPT)


def _with_probes(
    asked: Sequence[Request], probes: Mapping[str | None, Sequence[Request]]
) -> Iterator[Request]:
    """Yield each system's probes before its first request; those of a base not asked come first."""
    left = dict(probes)
    for name in left.keys() - {request.adapter for request in asked}:
        yield from left.pop(name)
    for request in asked:
        yield from left.pop(request.adapter, ())
        yield request
