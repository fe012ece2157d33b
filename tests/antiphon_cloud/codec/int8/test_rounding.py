"""How matrices become int8."""

import numpy as np
import pytest

from antiphon_cloud.codec.int8 import rounding
from antiphon_cloud.codec.int8.rounding import Floats, round_columns


def weights(rows: int, columns: int) -> Floats:
    return np.random.default_rng(0).standard_normal((rows, columns), np.float32)


def correlated(samples: int, rows: int) -> Floats:
    """Inputs of few degrees of freedom and a mean, as activations are."""
    random = np.random.default_rng(1)
    causes = random.standard_normal((samples, rows // 4), np.float32)
    mixed = causes @ random.standard_normal((rows // 4, rows), np.float32)
    return np.asarray(np.maximum(mixed, 0) + 0.1 * random.standard_normal((samples, rows), np.float32), np.float32)


def error(weight: Floats, inputs: Floats, found: tuple[np.ndarray, Floats]) -> float:
    integers, scale = found
    return float(np.linalg.norm(inputs @ (integers * scale - weight)) / np.linalg.norm(inputs @ weight))


def test_without_inputs_each_weight_goes_to_the_nearest_integer() -> None:
    weight = weights(40, 5)
    weight[:, 3] = 0
    integers, scale = round_columns(weight)
    assert (str(integers.dtype), str(scale.dtype)) == ("int8", "float32")
    assert np.all(np.abs(integers * scale - weight) <= 0.501 * scale)
    assert np.all(integers[:, 3] == 0)


def test_with_inputs_the_product_is_closer_on_others_like_them() -> None:
    weight, inputs = weights(256, 64), correlated(2_000, 256)
    nearest, fitted = round_columns(weight), round_columns(weight, inputs[:1_000])
    assert error(weight, inputs[1_000:], fitted) < 0.6 * error(weight, inputs[1_000:], nearest)
    assert np.abs(fitted[0]).max() <= 127
    np.testing.assert_array_equal(nearest[1], fitted[1])


def test_rows_beyond_a_chunk_are_rounded_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, inputs = weights(300, 32), correlated(1_000, 300)
    monkeypatch.setattr(rounding, "CHUNK_ROWS", 200)
    integers, _ = round_columns(weight, inputs)
    scale = np.abs(weight).max(0) / 127
    monkeypatch.undo()
    largest = np.abs(weight).argmax(0)  # give both parts the scale of the whole
    assert np.all(np.abs(integers[largest, np.arange(32)]) >= 126)
    assert error(weight, inputs, (integers, scale)) < error(weight, inputs, round_columns(weight))


def test_inputs_that_are_silent_are_as_good_as_none() -> None:
    weight = weights(64, 8)
    np.testing.assert_array_equal(round_columns(weight, np.zeros((10, 64), np.float32))[0], round_columns(weight)[0])
