"""What a page's query asks for: how tokens are drawn, the seed, the persona and the voice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from antiphon.spec import Sampling
from antiphon_gateway.calls.fleet import Wanted
from antiphon_gateway.errors import MessageError

MOST_SEED = 1 << 63
VOICE_SUFFIX = ".pt"  # PersonaPlex's page names a voice's file


def wanted(query: Mapping[str, str], model: Sampling) -> Wanted:
    """The session that a query asks for.

    Of the page's other parameters (`pad_mult`, the repetition penalties) the model knows nothing: they are passed over,
    as the published Python server does.

    Args:
        query: names to values.
        model: its own sampling, of which a query may change some.

    Raises:
        MessageError: a number that is none, or out of range; the message names it.
    """
    sampling = replace(
        model,
        text_temperature=_number(query, "text_temperature", model.text_temperature),
        text_top_k=_whole(query, "text_topk", model.text_top_k),
        audio_temperature=_number(query, "audio_temperature", model.audio_temperature),
        audio_top_k=_whole(query, "audio_topk", model.audio_top_k),
    )
    return Wanted(
        sampling=None if sampling == model else sampling,
        seed=_seed(query),
        voice=query.get("voice_prompt", "").removesuffix(VOICE_SUFFIX) or None,
        persona=query.get("text_prompt") or None,
    )


def _seed(query: Mapping[str, str]) -> int | None:
    """One seed of the two that a page sends; a negative one draws one, as the published servers have it."""
    given = [_whole(query, name, None, least=-1) for name in ("seed", "text_seed", "audio_seed") if name in query]
    seeds = [seed for seed in given if seed is not None and seed >= 0]
    if not seeds:
        return None
    text, audio = seeds[0], seeds[-1]
    return text if text == audio else ((text << 31) ^ audio) % MOST_SEED


def _number(query: Mapping[str, str], name: str, default: float) -> float:
    text = query.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise MessageError(f"{name}: expected a number of 0 or more, got {text[:40]!r}")
    return value


def _whole(query: Mapping[str, str], name: str, default: int | None, least: int = 0) -> int:
    text = query.get(name)
    if text is None:
        assert default is not None
        return default
    if not text.removeprefix("-").isdecimal() or not text.isascii() or not least <= int(text) < MOST_SEED:
        raise MessageError(f"{name}: expected a whole number of {least} or more, got {text[:40]!r}")
    return int(text)
