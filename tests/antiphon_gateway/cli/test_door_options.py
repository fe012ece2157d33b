"""The flags of the doors beside the gateway's own port."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from click.testing import CliRunner, Result

from antiphon_gateway.cli.commands import commands
from antiphon_gateway.cli.door_options import TOKEN_VARIABLE
from antiphon_gateway.server.config import Doors, GatewayConfig

URL = "wss://voice.example.com/twilio"


def serve(*arguments: str, **variables: str) -> tuple[Result, Doors | None]:
    """What `serve` says, and the doors that it would open."""
    configs: list[GatewayConfig] = []

    async def run(config: GatewayConfig, ready: Any, reread: Any) -> None:
        configs.append(config)

    with mock.patch("antiphon_gateway.server.process.run", run):
        result = CliRunner().invoke(commands, ["serve", *arguments], env=variables)
    return result, configs[0].doors if configs else None


def test_none_of_them_is_open_by_itself() -> None:
    _, doors = serve()
    assert doors == Doors()


def test_each_has_its_address() -> None:
    _, doors = serve("--audiosocket", "127.0.0.1:9092", "--wyoming", "127.0.0.1:10300", "--language", "fr")
    assert doors == Doors(None, "127.0.0.1:9092", "127.0.0.1:10300", ("fr",))


def test_twilios_token_comes_from_a_file_or_the_environment_and_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a secret\n")
    for result, doors in (
        serve("--twilio-url", URL, "--twilio-token-file", str(tmp_path / "token")),
        serve("--twilio-url", URL, **{TOKEN_VARIABLE: "a secret"}),
    ):
        assert result.exit_code == 0, result.output
        assert doors is not None
        assert doors.twilio is not None
        assert (doors.twilio.path, doors.twilio.auth_token) == ("/twilio", "a secret")
        assert "a secret" not in repr(doors)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--twilio-url", URL], f"--twilio-url needs --twilio-token-file, or {TOKEN_VARIABLE}"),
        (["--twilio-token-file", "x"], "--twilio-token-file needs --twilio-url"),
        (["--twilio-url", URL, "--twilio-token-file", "/nowhere"], "/nowhere cannot be read: No such file"),
        (["--twilio-url", URL, "--twilio-token-file", "/dev/null"], "/dev/null holds no token"),
        (["--audiosocket", "here"], "--audiosocket"),
        (["--wyoming", "here:x"], "--wyoming"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments: list[str], words: str) -> None:
    result, doors = serve(*arguments)
    assert (result.exit_code, doors) == (2, None)
    assert words in " ".join(result.output.split())


def test_a_url_that_twilio_cannot_stream_to_is_wrong_usage() -> None:
    result, _ = serve("--twilio-url", "https://voice.example.com/twilio", **{TOKEN_VARIABLE: "a secret"})
    assert result.exit_code == 2
    assert "no URL of a stream: give wss://HOST/twilio" in " ".join(result.output.split())
