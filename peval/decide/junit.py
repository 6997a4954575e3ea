"""A gate as JUnit XML, which every continuous integration server shows."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from peval.decide.gate import Check, Gate

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(gate: Gate) -> str:
    """Return one test case per check; an undecided one is an error, so that it is not green."""
    counts = {v: sum(c.verdict == v for c in gate.checks) for v in ("fail", "undecided")}
    suite = ElementTree.Element(
        "testsuite",
        name="peval gate",
        tests=str(len(gate.checks)),
        failures=str(counts["fail"]),
        errors=str(counts["undecided"]),
    )
    suite.extend(map(_case, gate.checks))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(check: Check) -> ElementTree.Element:
    rule = check.rule
    case = ElementTree.Element(
        "testcase",
        classname=_clean(f"peval.{rule.task}"),
        name=_clean(f"{check.adapter}: {check.metric} {rule.kind} {rule.bound:g}"),
    )
    if check.verdict != "pass":
        tag = "failure" if check.verdict == "fail" else "error"
        found = f"{check.value} [{check.low}, {check.high}]"
        child = ElementTree.SubElement(case, tag, type=check.verdict, message=_clean(check.why))
        child.text = found
    return case


def _clean(text: str) -> str:
    return NOT_XML.sub("�", text)
