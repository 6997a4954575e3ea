"""Whether a live engine can take other adapters."""

from __future__ import annotations

from dataclasses import replace

from peval.types import NATIVE, EngineSpec, LoraRoom


def room_for(spec: EngineSpec, least: LoraRoom) -> LoraRoom:
    """Return the room that a spec's adapters need, at least ``least``."""
    modules = {name for adapter in spec.adapters for name in adapter.target_modules}
    return LoraRoom(
        max(len(spec.adapters), least.n_adapters),
        max([least.rank, *(adapter.rank for adapter in spec.adapters)]),
        tuple(sorted({*modules, *least.target_modules})),
    )


def no_room(held: EngineSpec, wanted: EngineSpec) -> str | None:
    """Say why a live engine cannot serve another spec, or None where it can."""
    room = held.room
    if room is None or held.kind != "vllm":
        return "it takes no adapters while it lives"
    if replace(wanted, adapters=(), room=None) != replace(held, adapters=(), room=None):
        return "its base or its settings change"
    if len(wanted.adapters) > room.n_adapters:
        return f"{len(wanted.adapters)} adapters, with room for {room.n_adapters}"
    for adapter in wanted.adapters:
        if adapter.route != NATIVE or adapter.vocabulary_size is not None:
            return f"{adapter.name} takes the route {adapter.route}"
        if adapter.rank > room.rank:
            return f"{adapter.name} has rank {adapter.rank}, with room for {room.rank}"
        others = sorted({*adapter.target_modules} - {*room.target_modules})
        if others:
            return f"{adapter.name} targets {', '.join(others)}, with no room for these"
    return None
