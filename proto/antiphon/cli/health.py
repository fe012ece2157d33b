"""`health`, of worker and gateway alike: asks the server of this machine whether it is well.

A container engine runs it again and again: it needs no shell, no other program, and neither torch nor grpc. Needs
click, which the `edge` and `cloud` extras bring.
"""

from __future__ import annotations

import http.client

import click

from antiphon.address import join_address, split_address
from antiphon.cli.command_line import Address, Number, option
from antiphon.errors import AntiphonError

ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a server on all addresses is found on its own machine


class UnwellError(AntiphonError):
    """The server does not answer, or says that it is not well."""


@click.command("health")
@option(
    "--metrics-listen",
    type=Address(),
    required=True,
    metavar="HOST:PORT",
    help="Address of the operators' port, as the server was given it.",
)
@option(
    "--ready", is_flag=True, help="Ask whether it lets newcomers in (/readyz), not only whether it lives (/healthz)."
)
@option("--timeout", "timeout_s", type=Number(0, 60, min_open=True), default=5.0, help="Seconds to wait for an answer.")
def health_command(metrics_listen: str, ready: bool, timeout_s: float) -> None:
    """Exit with status 0 if the server on this machine is well, else with 1 and a sentence that says why."""
    host, port = split_address(metrics_listen, least_port=1)
    ask(ANY.get(host, host), port, "/readyz" if ready else "/healthz", timeout_s)


def ask(host: str, port: int, path: str, timeout_s: float) -> None:
    """Asks the operators' port, without the proxy of the environment.

    Raises:
        UnwellError: nobody answers in time, or the answer is another than 200.
    """
    address = join_address(host, port)
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        said = answer.read(1000).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        raise UnwellError(
            f"{address} does not answer ({error or type(error).__name__}): was the server started with "
            f"--metrics-listen {address}?"
        ) from None
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise UnwellError(f"{address}{path} says: {said or answer.reason}")
