"""The length of a frame, and the part of it that a step may take."""

from __future__ import annotations

FRAME_MS = 80.0
FRAME_S = FRAME_MS / 1000
STEP_BUDGET_MS = 64.0  # the rest of the frame is for gRPC, the event loop and other work of the machine
