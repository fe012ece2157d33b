"""The number clerk: a model small enough to be installed, trained to do one thing for real."""

from pathlib import Path

NUMBER_CLERK = Path(__file__).parent / "number-clerk"
"""Its directory, in the published layout; the README in it says what it does and how well."""
