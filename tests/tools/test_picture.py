"""The picture of a conversation: every length fits, and a name that nobody can draw is told."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from antiphon.errors import AntiphonError
from tools.demo.picture import draw, picture_type

RATE = 8  # samples a second: hours take no memory


def size_px(seconds: int) -> tuple[int, int]:
    """Height and width of a drawn conversation."""
    file = io.BytesIO()
    silence = np.zeros(seconds * RATE, np.float32)
    draw(file, "png", {"person": (silence, [(0.5, "one")]), "model": (silence, [])}, RATE)
    file.seek(0)
    height, width = imread(file, format="png").shape[:2]
    return height, width


def test_a_second_is_75_dots_wide() -> None:
    assert size_px(20) == (360, 1500)


def test_an_hour_is_as_wide_as_can_be_drawn() -> None:
    assert size_px(3600) == (360, 60_000)


@pytest.mark.parametrize(("name", "kind"), [("a.png", "png"), ("a.b.PNG", "png"), ("a.svg", "svg")])
def test_the_name_says_the_type(name: str, kind: str) -> None:
    assert picture_type(Path(name)) == kind


@pytest.mark.parametrize("name", ["picture", "picture.xyz", "picture.png.wav", ".png"])
def test_a_name_of_another_type_is_one_sentence(name: str) -> None:
    with pytest.raises(AntiphonError, match=r"is no name of a picture; choose one that ends in \.png"):
        picture_type(Path(name))
