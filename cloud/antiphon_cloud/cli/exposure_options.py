"""The flags of a worker that others can reach: TLS, API keys, client limits, and the operators' port."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from antiphon.cli.command_line import Address, Number, option
from antiphon.cli.durations import Duration
from antiphon.cli.token_options import token_options

if TYPE_CHECKING:
    from antiphon.serving.tokens import TokenRules
    from antiphon_cloud.sessions.clients import Allowance

F = TypeVar("F", bound=Callable[..., Any])

LIMITS = ("client_sessions", "client_opens_per_minute", "client_calls_per_second", "max_session_s")
"""Parameters that `Allowance` holds."""
_pem = click.Path(path_type=Path)
_options = (
    option("--tls-cert", type=_pem, help="Certificate chain to show (PEM); read again when the file changes."),
    option("--tls-key", type=_pem, help="Its private key (PEM)."),
    option("--tls-client-ca", type=_pem, help="Let in only clients with a certificate of these authorities (PEM)."),
    option("--insecure", is_flag=True, help="Serve other machines in plaintext; without it only loopback is."),
    option(
        "--api-keys",
        type=click.Path(path_type=Path),
        help="Let in only who presents a key of this file (antiphon-cloud make-key makes one); read again when it "
        "changes, and on SIGHUP.",
    ),
    option(
        "--client-sessions",
        type=click.IntRange(1),
        help="Sessions at once of one client: of a key, else a client certificate, else an address; all slots where "
        "absent.",
    ),
    option(
        "--client-opens-per-minute",
        type=Number(0, min_open=True),
        default=6000.0,
        help="Sessions that one client may open, or go on with, in a minute.",
    ),
    option(
        "--client-calls-per-second",
        type=Number(0, min_open=True),
        default=100.0,
        help="Calls of one kind (conversations; queries; health checks) that one client may make in a second; those of "
        "two seconds at once.",
    ),
    option(
        "--max-session",
        "max_session_s",
        type=Duration(),
        metavar="DURATION",
        help="How long a session may last, such as 8h: it is told when it opens, and goes on nowhere. Any time where "
        "absent.",
    ),
    option(
        "--fleet-limits",
        type=Address(),
        metavar="HOST:PORT",
        help="Rate limit service (Envoy's protocol) that counts clients' opens and sessions at all workers together; "
        "none where absent, and each worker counts for itself.",
    ),
    option(
        "--metrics-listen",
        type=Address(),
        metavar="HOST:PORT",
        help="Address of /metrics (Prometheus), /healthz, /readyz and a page, over plain HTTP; nowhere where absent.",
    ),
)


def exposure_options(command: F) -> F:
    """Adds the flags, and passes the command `exposure`: the fields of `ServerConfig` that they set."""

    @wraps(command)
    def with_exposure(
        *args: Any,
        tls_cert: Path | None,
        tls_key: Path | None,
        tls_client_ca: Path | None,
        insecure: bool,
        api_keys: Path | None,
        token_rules: TokenRules | None,
        fleet_limits: str | None,
        metrics_listen: str | None,
        **kwargs: Any,
    ) -> Any:
        from antiphon_cloud.server.access.tls import TlsFiles  # importing grpc is slow, and --help needs none

        limits = {name: kwargs.pop(name) for name in LIMITS}
        if (tls_cert is None) != (tls_key is None):
            raise click.UsageError("--tls-cert and --tls-key belong together: give both")
        if tls_client_ca is not None and tls_cert is None:
            raise click.UsageError("--tls-client-ca needs --tls-cert and --tls-key")
        exposure = {
            "tls": TlsFiles(tls_cert, tls_key, tls_client_ca) if tls_cert and tls_key else None,
            "insecure": insecure,
            "api_keys": api_keys,
            "token_rules": token_rules,
            "fleet_limits": fleet_limits,
            "metrics_listen": metrics_listen,
            "allowance": allowance_of(limits),
        }
        return command(*args, exposure=exposure, **kwargs)

    decorated: Any = token_options(with_exposure)
    for each in reversed(_options):
        decorated = each(decorated)
    return decorated  # type: ignore[no-any-return]


def allowance_of(values: Mapping[str, Any]) -> Allowance:
    """What a client may have, by the values of the parameters `LIMITS`."""
    from antiphon_cloud.sessions.clients import Allowance

    sessions, opens_per_minute, calls_per_second, longest_s = (values[name] for name in LIMITS)
    return Allowance(sessions, opens_per_minute, calls_per_second, longest_s=longest_s)
