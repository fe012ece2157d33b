"""The flags of every command that connects to a worker: its address, TLS and the API key."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from antiphon.cli.command_line import Address, option
from antiphon_edge.transport.credentials import Credentials, clean_api_key, read_api_key

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_SERVER = "localhost:50051"
API_KEY_VARIABLE = "ANTIPHON_API_KEY"

# The parameters have the names of `Credentials`' arguments: an error about one names its flag.
_pem = click.Path(path_type=Path)
_options = (
    option("--server", type=Address(), default=DEFAULT_SERVER, metavar="HOST:PORT", help="Address of the worker."),
    option("--tls", is_flag=True, help="Encrypt, and check the worker's certificate; the other --tls flags imply it."),
    option(
        "--tls-ca", "ca", type=_pem, help="Authorities to trust (PEM); those that gRPC brings (Mozilla's) where absent."
    ),
    option("--tls-client-cert", "client_cert", type=_pem, help="Certificate chain of this edge (PEM), for mutual TLS."),
    option("--tls-client-key", "client_key", type=_pem, help="Its private key (PEM)."),
    option(
        "--api-key-file",
        type=click.Path(path_type=Path),
        help=f"File that holds this edge's API key; {API_KEY_VARIABLE} may hold the key itself.",
    ),
    option("--insecure", is_flag=True, help="Talk without TLS to another machine, API key and all."),
)
other_servers_option = option(
    "--other-server",
    "other_servers",
    type=Address(),
    multiple=True,
    metavar="HOST:PORT",
    help="Another worker, where the session goes on should the first one be lost; may be given several times.",
)


def connection_options(command: F) -> F:
    """Adds the flags, and hands the command `server` and `credentials`."""

    @wraps(command)
    def with_credentials(
        *args: Any,
        tls: bool,
        ca: Path | None,
        client_cert: Path | None,
        client_key: Path | None,
        api_key_file: Path | None,
        insecure: bool,
        **kwargs: Any,
    ) -> Any:
        if (client_cert is None) != (client_key is None):
            raise click.UsageError("--tls-client-cert and --tls-client-key belong together: give both")
        credentials = Credentials(
            tls=tls or ca is not None or client_cert is not None,
            ca=ca,
            client_cert=client_cert,
            client_key=client_key,
            api_key=_api_key(api_key_file),
            insecure=insecure,
        )
        return command(*args, credentials=credentials, **kwargs)

    decorated: Any = with_credentials
    for each in reversed(_options):
        decorated = each(decorated)
    return decorated  # type: ignore[no-any-return]


def _api_key(file: Path | None) -> str | None:
    """The key of the file, else of the environment: a flag would show it in the list of processes."""
    if file is not None:
        return read_api_key(file)
    text = os.environ.get(API_KEY_VARIABLE)
    return clean_api_key(text, API_KEY_VARIABLE) if text else None
