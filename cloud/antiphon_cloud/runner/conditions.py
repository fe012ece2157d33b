"""What a session chooses, as the vectors, keys and values that its slot's steps read; made when the session begins."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from antiphon.errors import PreconditionError
from antiphon_cloud.checkpoint.conditions import list_conditions, no_such_voice, require_conditions
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.speaker_voices import read_voice, voice_file
from antiphon_cloud.model.conditioners import MAX_VOICES, VOICE_STEPS
from antiphon_cloud.model.conditions import Conditions, CrossKv, positions
from antiphon_cloud.model.layers import Layer
from antiphon_cloud.model.lm import LanguageModel
from antiphon_cloud.runner.settings import SessionSettings

Voices = tuple[tuple[str, int], ...]  # names, and when their files were changed


class SlotConditions:
    """Writes what sessions are told into their slots' rows.

    Args:
        model: the weights.
        state: the rows.
        directory: where voices are; None for nowhere.
    """

    def __init__(self, model: LanguageModel, state: Conditions, directory: ModelDirectory | None) -> None:
        self._model, self._state, self._directory = model, state, directory
        self._known = list_conditions(model.config)
        self._heard: dict[int, Voices] = {}  # what the slots' keys and values are of

    def set(self, slot: int, settings: SessionSettings) -> None:
        """Tells the slot's session what it chose, and the model's own values of the rest.

        Raises:
            PreconditionError: the model has no such condition, value or voice.
            CheckpointError: a voice's file is damaged, or another model's.
        """
        require_conditions(settings.conditions, self._known)
        cross = self._state.cross
        voices = () if cross is None else self._voices(settings.voices)  # of other models they are prompts
        if self._state.total is not None:
            values = {each.name: settings.conditions.get(each.name, each.default) for each in self._known}
            self._state.total[slot] = self._total(values).to(self._state.total.dtype)
        if cross is None or self._heard.get(slot) == voices:
            return
        same = next((other for other, heard in self._heard.items() if heard == voices), None)
        self._heard.pop(slot, None)
        if same is None:
            self._attend_to(cross, slot, self._vectors(settings.voices))
        else:
            for held in (cross.keys, cross.values):
                held[:, slot] = held[:, same]
            cross.lengths[slot] = cross.lengths[same]
        self._heard[slot] = voices

    def _voices(self, names: tuple[str, ...]) -> Voices:
        assert len(names) <= MAX_VOICES, "whoever takes them counts them"
        return tuple((name, self._file(name).stat().st_mtime_ns) for name in names)

    def _total(self, values: dict[str, str]) -> Tensor:
        """The sum [dim] of the vectors of the conditions' values; an empty one is none of them."""
        total = None
        for name in self._model.config.fuser.sum:
            value, of = values[name], self._model.config.conditioners[name].values
            vector = self._model.condition_provider.of(name).value(of.index(value) if value else None)
            total = vector if total is None else total + vector
        assert total is not None
        return total

    def _vectors(self, names: tuple[str, ...]) -> Tensor:
        """What all layers attend to, [1, entries, dim]: the voices side by side, and padding in place of those that are
        not there, which counts as much."""
        config, device = self._model.config, self._model.out_norm.alpha.device
        (name,) = config.fuser.cross
        voices = [read_voice(self._file(each), name, config.conditioners[name].dim) for each in names]
        steps = len(voices[0]) if voices else VOICE_STEPS
        source = torch.zeros(MAX_VOICES, steps, config.conditioners[name].dim)
        for place, voice in enumerate(voices):
            if len(voice) != steps:
                raise PreconditionError(
                    f"voices {names[0]!r} and {names[place]!r} are of {steps} and {len(voice)} steps; take voices of "
                    "one length"
                )
            source[place] = voice
        known = torch.arange(MAX_VOICES * steps, device=device) < len(voices) * steps
        vectors = self._model.condition_provider.of(name).vectors(source.flatten(0, 1).to(device), known)
        if config.fuser.cross_attention_pos_emb:
            vectors = vectors + config.fuser.cross_attention_pos_emb_scale * positions(len(vectors), config.dim, device)
        return vectors.to(self._model.dtype)[None]

    def _attend_to(self, cross: CrossKv, slot: int, vectors: Tensor) -> None:
        length = vectors.shape[1]
        for index, layer in enumerate(self._model.transformer.layers):
            assert isinstance(layer, Layer)
            weights = layer.cross_attention
            assert weights is not None
            for held, projection in ((cross.keys, weights.k_proj), (cross.values, weights.v_proj)):
                entries = projection(vectors).view(length, weights.heads, -1).transpose(0, 1)  # [H, E, D]
                held[index, slot, :, :length] = entries.to(held.dtype)
                held[index, slot, :, length:] = 0
        cross.lengths[slot] = length

    def _file(self, name: str) -> Path:
        if self._directory is None:
            raise no_such_voice(name, ())
        return voice_file(self._directory, name)
