"""The flags of a worker that others can reach: TLS and mutual TLS."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from antiphon.command_line import option

F = TypeVar("F", bound=Callable[..., Any])

_pem = click.Path(path_type=Path)
_tls_options = (
    option("--tls-cert", type=_pem, help="Certificate chain to show (PEM); read again when the file changes."),
    option("--tls-key", type=_pem, help="Its private key (PEM)."),
    option("--tls-client-ca", type=_pem, help="Let in only clients with a certificate of these authorities (PEM)."),
    option("--insecure", is_flag=True, help="Serve other machines in plaintext; without it only loopback is."),
)


def tls_options(command: F) -> F:
    """Adds the flags, and hands the command `tls` and `insecure`."""

    @wraps(command)
    def with_tls(
        *args: Any, tls_cert: Path | None, tls_key: Path | None, tls_client_ca: Path | None, **kwargs: Any
    ) -> Any:
        from antiphon_cloud.transport import TlsFiles  # grpc takes a while: not before --help has answered

        if (tls_cert is None) != (tls_key is None):
            raise click.UsageError("--tls-cert and --tls-key belong together: give both")
        if tls_client_ca is not None and tls_cert is None:
            raise click.UsageError("--tls-client-ca needs --tls-cert and --tls-key")
        tls = TlsFiles(tls_cert, tls_key, tls_client_ca) if tls_cert and tls_key else None
        return command(*args, tls=tls, **kwargs)

    decorated: Any = with_tls
    for each in reversed(_tls_options):
        decorated = each(decorated)
    return decorated  # type: ignore[no-any-return]
