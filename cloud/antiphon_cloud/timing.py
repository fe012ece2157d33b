"""How long a frame lasts, and how much of that a step may take."""

from __future__ import annotations

FRAME_MS = 80.0
FRAME_S = FRAME_MS / 1000
STEP_BUDGET_MS = 64.0  # of a frame: the rest is for gRPC, the event loop and whatever else the machine does
