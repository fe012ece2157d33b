"""Makes new variants for espeak-ng: children of two of its variants.

A variant is a text file that describes how a speaker differs from the language's default: formants, pitch, voicing,
stress. espeak-ng has about a hundred, so few that a model memorizes them. A child has each trait from one of its two
parents, with small random changes of all numbers, so that there is no limit to their number.
"""

from __future__ import annotations

import re

import numpy as np

SPREAD = 0.12  # greatest relative change of a child's numbers
_EXACT = ("klatt", "intonation")  # traits whose numbers name a kind and must not change
_NAMED = ("name", "language", "gender", "maintainer", "status")
_NUMBER = re.compile(r"-?\d+")


def traits(variant: str) -> dict[str, str]:
    """The traits in a variant's file, with their numbers; each formant is a trait."""
    found = {}
    for line in variant.splitlines():
        fields = line.split("//")[0].split("#")[0].split()
        named = 2 if fields and fields[0] == "formant" else 1
        if len(fields) > named and fields[0] not in _NAMED:
            found[" ".join(fields[:named])] = " ".join(fields[named:])
    return found


def child(mother: str, father: str, rng: np.random.Generator) -> str:
    """The file text of a child, from the file texts of its parents."""
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
