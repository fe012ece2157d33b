"""--help of every command tells what a flag does where it is absent, in what unit, and which variable stands for it."""

from __future__ import annotations

import re

import click
import pytest
from click.testing import CliRunner

from antiphon_cloud.cli.commands import commands as cloud
from antiphon_edge.cli.commands import commands as edge

COMMANDS = {
    " ".join((program, *name)): command
    for program, group in (("antiphon-edge", edge), ("antiphon-cloud", cloud))
    for name, command in [((), group), *(((name,), command) for name, command in group.commands.items())]
}
OPTIONS = [
    pytest.param(parameter, id=f"{name} {parameter.opts[0]}")
    for name, command in COMMANDS.items()
    for parameter in command.params
    if isinstance(parameter, click.Option) and parameter.name != "version"
]
A_MEASURE = re.compile(r"timeout|seconds|drain|budget|memory|bandwidth|\bpeak|keep|size", re.IGNORECASE)
A_UNIT = re.compile(r"\b(seconds|milliseconds|minutes?|MB|GB|GB/s|TFLOP/s|bytes|frames)\b", re.IGNORECASE)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_tells_its_default_and_its_variable(option: click.Option) -> None:
    variable = "ANTIPHON" + option.opts[0].removeprefix("-").upper().replace("-", "_")
    assert option.envvar == variable
    shown = option.get_help_record(click.Context(click.Command("any")))
    assert shown is not None
    assert variable in shown[1]
    assert option.is_flag or option.required or re.search(r"default: |absent", shown[1]), shown[1]


@pytest.mark.parametrize("option", [case for case in OPTIONS if A_MEASURE.search(str(case.id))])
def test_a_measure_tells_its_unit(option: click.Option) -> None:
    assert option.is_flag or isinstance(option.type, click.Path | click.Choice) or A_UNIT.search(option.help or "")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_printed(name: str) -> None:
    asked = CliRunner().invoke(COMMANDS[name], ["--help"])
    assert asked.exit_code == 0
    flags = {parameter.opts[0] for parameter in COMMANDS[name].params if isinstance(parameter, click.Option)}
    assert flags <= set(asked.output.split())
