"""Mimi, the streaming audio codec, in PyTorch: the one definition that is exported, tested and trained.

Mimi: Défossez et al. 2024, "Moshi: a speech-text foundation model for real-time dialogue", arXiv:2410.00037.
"""

from antiphon_cloud.codec.mimi.checkpoint import Checkpoint, Weights
from antiphon_cloud.codec.mimi.config import MimiConfig
from antiphon_cloud.codec.mimi.layers import State
from antiphon_cloud.codec.mimi.model import Decoder, Encoder, Mimi

__all__ = ["Checkpoint", "Decoder", "Encoder", "Mimi", "MimiConfig", "State", "Weights"]
