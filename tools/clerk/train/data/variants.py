"""Speakers that espeak-ng does not have: children of two of its variants.

A variant is a text file that says how a speaker differs from the language's own: formants, pitch, voicing, stress.
espeak-ng has about a hundred, and recognition learns them by heart. A child has each trait of one parent or the
other, and every number of it a little off, so that there is no end of them.
"""

from __future__ import annotations

import re

import numpy as np

SPREAD = 0.12  # that a child's numbers are off at most
_EXACT = ("klatt", "intonation")  # which kind, not how much
_NAMED = ("name", "language", "gender", "maintainer", "status")
_NUMBER = re.compile(r"-?\d+")


def traits(variant: str) -> dict[str, str]:
    """Each trait of a variant's file and its numbers; a formant is a trait."""
    found = {}
    for line in variant.splitlines():
        fields = line.split("//")[0].split("#")[0].split()
        named = 2 if fields and fields[0] == "formant" else 1
        if len(fields) > named and fields[0] not in _NAMED:
            found[" ".join(fields[:named])] = " ".join(fields[named:])
    return found


def child(mother: str, father: str, rng: np.random.Generator) -> str:
    """The file of a variant that has its traits of two others' files."""
    parents = traits(mother), traits(father)
    lines = ["language variant"]
    for trait in sorted(parents[0] | parents[1]):
        inherited = parents[int(rng.integers(2))].get(trait)
        if inherited is None:
            continue
        if trait not in _EXACT:
            inherited = _NUMBER.sub(lambda n: str(round(int(n[0]) * rng.uniform(1 - SPREAD, 1 + SPREAD))), inherited)
        lines.append(f"{trait} {inherited}")
    return "\n".join(lines) + "\n"
