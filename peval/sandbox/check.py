"""What the sandbox is worth on this machine, told tier by tier: `peval sandbox-check`."""

from __future__ import annotations

import platform
import time
from typing import Any

from .canaries import ATTACKS, TIERS, TierReport, probe, refusal
from .inside.isolation import NAMESPACES

NEEDS = {
    "namespaces": (
        "unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, or on Ubuntu "
        "24.04 an AppArmor profile that allows userns), or root with CAP_SYS_ADMIN"
    ),
    "landlock": (
        "Linux 5.13 or newer with landlock among the active LSMs, not hidden by a container"
    ),
}


def checked(every: bool = False) -> dict[str, Any]:
    """Attack tiers from the strongest on, up to the first that holds or all of them.

    Returns
    -------
    dict
        ``tier`` that would be used (None: programs are refused), and what became of each.
    """
    tiers: list[dict[str, Any]] = []
    reports: list[TierReport] = []
    for name in TIERS:
        started = time.perf_counter()
        report = probe(name)
        reports.append(report)
        tiers.append({
            "tier": name, "holds": not report.problems, "landlock_abi": report.landlock_abi,
            "problems": list(report.problems), "seconds": round(time.perf_counter() - started, 2),
        })  # fmt: skip
        if not report.problems and not every:
            break
    held = next((one["tier"] for one in tiers if one["holds"]), None)
    return {
        "tier": held,
        "refusal": None if held else refusal(reports),
        "attacks": list(ATTACKS),
        "tiers": tiers,
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def text(found: dict[str, Any]) -> str:
    """Return a check as a person reads it."""
    lines = [f"{found['kernel']}; {len(found['attacks'])} attacks on each tier"]
    for one in found["tiers"]:
        lines.append(f"  {one['tier']:<11}{_state(one)}")
        lines += [f"{'':13}{problem}" for problem in one["problems"]]
        if not one["holds"]:
            lines.append(f"{'':13}needs {NEEDS[one['tier']]}")
    if found["tier"]:
        lines.append(f"Model-written code would run in the tier {found['tier']}.")
    else:
        lines.append(found["refusal"])
    return "\n".join(lines)


def _state(one: dict[str, Any]) -> str:
    if not one["holds"]:
        return "does not hold"
    landlock = f", with Landlock {one['landlock_abi']}" if one["landlock_abi"] else ""
    without = ", without Landlock" if one["tier"] == NAMESPACES and not landlock else ""
    return f"holds{landlock or without} ({one['seconds']:.1f} s)"
