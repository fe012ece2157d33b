"""`antiphon-edge ask`: a model that speaks, asked in writing."""

from __future__ import annotations

import asyncio

import click

from antiphon.cli.command_line import option
from antiphon.spec import GREEDY
from antiphon_edge.cli.connection_options import connection_options
from antiphon_edge.cli.talk_view import plain_watcher
from antiphon_edge.cli.text_input import standard_input
from antiphon_edge.client.connect import connect
from antiphon_edge.client.describe import describe
from antiphon_edge.talk.writing import ask
from antiphon_edge.transport.credentials import Credentials


@click.command("ask")
@connection_options
@option("--seed", type=click.IntRange(0, 2**63 - 1), help="Same seed, same answer; drawn where absent.")
@option("--greedy", is_flag=True, help="Take the likeliest token always, instead of sampling.")
@option("--longest", type=click.IntRange(1), default=500, metavar="TOKENS", help="End the answer after so many tokens.")
@click.argument("text", required=False)
def ask_command(
    server: str,
    credentials: Credentials,
    seed: int | None,
    greedy: bool,
    longest: int,
    text: str | None,
) -> None:
    """Ask: writes TEXT, or standard input, to a model that speaks, and prints what it writes back.

    The model neither hears nor says anything meanwhile.
    """

    async def main() -> None:
        worker = await describe(server, credentials)
        async with connect(
            server,
            worker.codec,
            mode="text",
            seed=seed,
            sampling=GREEDY if greedy else None,
            credentials=credentials,
            on_change=plain_watcher().on_change,
        ) as session:
            question = "".join([part async for part in standard_input()]) if text is None else text
            async for answer in ask(session, question, longest):
                click.echo(answer, nl=False)
        click.echo()

    asyncio.run(main())
