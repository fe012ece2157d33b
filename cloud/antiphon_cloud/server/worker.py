"""A worker: one model, its codec and its engine, and whether it takes new sessions."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from antiphon.errors import UnavailableError
from antiphon.serving.status import Status
from antiphon.serving.tracing import NO_TRACES, Traces
from antiphon.spec import Limits
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.checkpoint.conditions import Condition
from antiphon_cloud.codec.folder import CodecFolder
from antiphon_cloud.engine.engine import Engine
from antiphon_cloud.metrics import Metrics
from antiphon_cloud.server.access.fleet_limits import FleetLimits
from antiphon_cloud.server.access.limits import OpenRate
from antiphon_cloud.server.recent_steps import RecentSteps
from antiphon_cloud.server.refusals import Refusals
from antiphon_cloud.sessions.admission import Admission
from antiphon_cloud.sessions.clients import Allowance
from antiphon_cloud.sessions.prompts.prompt import Strategy, no_prompt
from antiphon_cloud.sessions.script.script import ScriptRules
from antiphon_cloud.sessions.table import SessionTable


class Phase(enum.Enum):
    """A worker's life."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


@dataclass(slots=True)
class ServedModel:
    """A served model: its engine, codec and tokenizer, the worker's limits, and its sessions."""

    engine: Engine
    codec: CodecFolder
    piece_of: Callable[[int], bytes]
    limits: Limits
    step_budget_ms: float = math.inf  # step time up to which sessions are admitted
    prompts: Strategy = no_prompt  # of the model
    voices: tuple[str, ...] = ()  # that prompts may name
    rules: ScriptRules | None = None  # of what the model is given to say; None: it only listens
    conditions: tuple[Condition, ...] = ()  # that sessions may choose
    reserve: int = 0  # slots that only sessions may take which go on
    sessions: SessionTable = field(init=False)
    steps: RecentSteps = field(init=False)
    description: pb.GetModelResponse = field(init=False)
    """GetModel's answer without the load."""

    def __post_init__(self) -> None:
        admission = Admission(self.engine.forecast, self.step_budget_ms, self.reserve)
        self.sessions = SessionTable(self.engine, admission, self.limits)
        self.steps = RecentSteps(self.engine.forecast.step_times)
        self.description = pb.GetModelResponse(
            model=self.engine.spec.to_message(),
            codec=self.codec.spec.to_message(),
            limits=self.limits.to_message(),
            voices=self.voices,
            conditions=[
                pb.Condition(name=each.name, values=each.values, default_value=each.default) for each in self.conditions
            ],
        )


class Worker:
    """The served model once it is loaded, the worker's phase, and the clients' allowances.

    Args:
        allowance: default of clients whose API key sets no limits.
        name: its operator's name for it; empty for none.
        traces: where the sessions' spans go.
    """

    def __init__(self, allowance: Allowance | None = None, name: str = "", traces: Traces = NO_TRACES) -> None:
        self.name = name
        self.traces = traces
        self.metrics = Metrics(name)
        self.refusals = Refusals(self.metrics)
        self.allowance = allowance or Allowance()
        self.open_rate = OpenRate()
        self.fleet_limits: FleetLimits | None = None
        """Of clients at all workers together; None where nobody counts them."""
        self.phase = Phase.STARTING
        self.serving: ServedModel | None = None

    @property
    def served(self) -> ServedModel:
        """The loaded model.

        Raises:
            UnavailableError: the worker is still starting.
        """
        if self.serving is None:
            raise UnavailableError("this worker is still loading its model: try again in a moment")
        return self.serving

    def admit(self) -> ServedModel:
        """The loaded model, for a new session.

        Raises:
            UnavailableError: the worker is starting or draining, or its engine has ended.
        """
        if self.phase is not Phase.SERVING:
            self.metrics.refused(self.phase.value)
        if self.phase is Phase.DRAINING:
            raise UnavailableError("this worker is draining: connect to another one")
        self.served.engine.require_running()
        return self.served

    def serve(self, served: ServedModel) -> None:
        """Admits sessions."""
        self.metrics.watch("slots", lambda: served.engine.slots)
        self.metrics.watch("sessions", lambda: served.engine.sessions)
        self.metrics.watch("queue_depth", lambda: served.engine.queue_depth)
        served.sessions.traces = self.traces
        self.serving = served
        self.phase = Phase.SERVING

    def drain(self) -> None:
        """Admits no new session from now on."""
        self.phase = Phase.DRAINING

    def status(self) -> Status:
        """How it is, in a few numbers."""
        metrics, served = self.metrics, self.serving
        if served is None:
            return Status("worker", "starting", refused=metrics.calls_refused)
        steps = served.steps.now()
        return Status(
            "worker",
            "failed" if served.engine.failure else self.phase.value,
            model=served.engine.spec.name,
            sessions=served.engine.sessions,
            slots=served.engine.slots,
            step_p50_ms=round(steps.p50_ms, 2),
            step_p99_ms=round(steps.p99_ms, 2),
            frames=metrics.frames,
            late=metrics.late,
            refused=metrics.calls_refused,
        )

    def not_ready(self) -> str | None:
        """Why no new session is admitted; None if one may be."""
        return self.served.engine.failure if self.phase is Phase.SERVING else f"this worker is {self.phase.value}"

    def not_alive(self) -> str | None:
        """Why this worker should be restarted; None if it is healthy."""
        return self.serving.engine.stuck() if self.serving else None
