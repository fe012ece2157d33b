"""How long a frame lasts, and how much of that a step may take.

All models of the family have frames of 80 ms: Mimi's `frame_rate` is 12.5. The edge goes by the codec's own figures
(`CodecSpec.frame_s`).
"""

from __future__ import annotations

FRAME_MS = 80.0
FRAME_S = FRAME_MS / 1000
STEP_BUDGET_MS = 64.0  # of a frame: the rest is for gRPC, the event loop and whatever else the machine does
