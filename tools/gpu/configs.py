"""The shapes of published models, for tools that need no weights."""

from __future__ import annotations

from antiphon_cloud.model.conditioners import Conditioner, Fuser, LookupTable, Vectors
from antiphon_cloud.model.config import LMConfig

SEVEN_B = LMConfig()
STT_1B = LMConfig(  # kyutai/stt-1b-en_fr, which only listens
    dim=2048, num_heads=16, num_layers=16, context=750, max_period=100_000.0, n_q=32, dep_q=0, text_card=8000,
    delays=(0,) * 33, extra_heads_num_heads=4,
)  # fmt: skip
TTS_1_6B = LMConfig(  # kyutai/tts-1.6b-en_fr: 32 codebooks in 11 weight sets, tables of rank 128, five voices
    dim=2048, num_heads=16, num_layers=16, context=500, n_q=32, dep_q=32, text_card=8000,
    delays=(0, 0, *(2,) * 31), depformer_num_layers=4, depformer_dim_feedforward=3072,
    depformer_weights_per_step_schedule=(0, 1, 2, 3, 4, 5, 6, 7, *(8,) * 8, *(9,) * 8, *(10,) * 8),
    depformer_low_rank_embeddings=128, demux_second_stream=True, cross_attention=True,
    conditioners={
        "speaker_wavs": Conditioner("tensor", tensor=Vectors(512)),
        "cfg": Conditioner("lut", LookupTable(7, 16, ("1.0", "1.5", "2.0", "2.5", "3.0", "3.5", "4.0"), "noop")),
        "control": Conditioner("lut", LookupTable(1, 2048, ("ok",), "noop")),
    },
    fuser=Fuser(sum=("control", "cfg"), cross=("speaker_wavs",), cross_attention_pos_emb=True),
)  # fmt: skip
CONFIGS = {"7b": SEVEN_B, "stt-1b": STT_1B, "tts-1.6b": TTS_1_6B}
