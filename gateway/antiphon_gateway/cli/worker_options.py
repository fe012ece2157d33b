"""The flags that say where the workers are and how they are reached."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from antiphon.address import split_address
from antiphon.cli.command_line import option
from antiphon.errors import ArgumentError

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT = ("localhost:50051",)
API_KEY_VARIABLE = "ANTIPHON_WORKER_API_KEY"


class Addresses(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """HOST:PORT[,HOST:PORT…], each checked before anything is started."""

    name = "addresses"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> tuple[str, ...]:
        """The addresses."""
        if isinstance(value, tuple):
            return value
        addresses = tuple(part.strip() for part in str(value).split(","))
        for address in addresses:
            try:
                split_address(address, least_port=1)
            except ArgumentError as error:
                self.fail(str(error), param, context)
        return addresses


_pem = click.Path(path_type=Path)
_options = (
    option(
        "--server",
        "dialogue",
        type=Addresses(),
        metavar="HOST:PORT[,HOST:PORT]",
        help="Addresses of the workers of one model; sessions are spread over them, and go on at any. localhost:50051 "
        "where absent, and no other worker is named.",
    ),
    option(
        "--transcriber",
        "transcription",
        type=Addresses(),
        metavar="HOST:PORT[,HOST:PORT]",
        help="Addresses of workers whose model only listens, for what people say; none where absent.",
    ),
    option(
        "--speaker",
        "speech",
        type=Addresses(),
        metavar="HOST:PORT[,HOST:PORT]",
        help="Addresses of workers whose model only speaks, for texts read aloud; none where absent.",
    ),
    option("--worker-tls", is_flag=True, help="Encrypt to the workers, and check their certificates."),
    option("--worker-tls-ca", type=_pem, help="Authorities to trust (PEM); those that gRPC brings where absent."),
    option("--worker-tls-client-cert", type=_pem, help="Certificate chain of this gateway (PEM), for mutual TLS."),
    option("--worker-tls-client-key", type=_pem, help="Its private key (PEM)."),
    option(
        "--worker-api-key-file",
        type=click.Path(path_type=Path),
        help=f"File that holds this gateway's API key at the workers; {API_KEY_VARIABLE} may hold the key itself.",
    ),
    option("--worker-insecure", is_flag=True, help="Talk without TLS to workers on other machines, API key and all."),
    option(
        "--cache",
        type=click.Path(path_type=Path),
        help="Where the workers' codecs are kept; antiphon in the user's cache folder where absent.",
    ),
)


def worker_options(command: F) -> F:
    """Adds the flags, and hands the command `workers`."""

    @wraps(command)
    def with_workers(
        *args: Any,
        dialogue: tuple[str, ...] | None,
        transcription: tuple[str, ...] | None,
        speech: tuple[str, ...] | None,
        worker_tls: bool,
        worker_tls_ca: Path | None,
        worker_tls_client_cert: Path | None,
        worker_tls_client_key: Path | None,
        worker_api_key_file: Path | None,
        worker_insecure: bool,
        cache: Path | None,
        **kwargs: Any,
    ) -> Any:
        from antiphon_edge.transport.credentials import Credentials  # importing grpc is slow, and --help needs none
        from antiphon_gateway.server.config import Workers

        if (worker_tls_client_cert is None) != (worker_tls_client_key is None):
            raise click.UsageError("--worker-tls-client-cert and --worker-tls-client-key belong together: give both")
        credentials = Credentials(
            tls=worker_tls or worker_tls_ca is not None or worker_tls_client_cert is not None,
            ca=worker_tls_ca,
            client_cert=worker_tls_client_cert,
            client_key=worker_tls_client_key,
            api_key=_api_key(worker_api_key_file),
            insecure=worker_insecure,
        )
        if not (dialogue or transcription or speech):
            dialogue = DEFAULT
        workers = Workers(dialogue or (), transcription or (), speech or (), credentials, cache)
        return command(*args, workers=workers, **kwargs)

    decorated: Any = with_workers
    for each in reversed(_options):
        decorated = each(decorated)
    return decorated  # type: ignore[no-any-return]


def _api_key(file: Path | None) -> str | None:
    """The key of the file, else of the environment: a flag would show it in the list of processes."""
    from antiphon_edge.transport.credentials import clean_api_key, read_api_key

    if file is not None:
        return read_api_key(file)
    text = os.environ.get(API_KEY_VARIABLE)
    return clean_api_key(text, API_KEY_VARIABLE) if text else None
