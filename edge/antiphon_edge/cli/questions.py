"""What setup asks a person at a terminal; an answer is tried at once, where it can be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from typing import TypeVar

import click

from antiphon.cli.command_line import Address, Number, in_flags
from antiphon.plain_text import plain_line
from antiphon.tls import is_loopback
from antiphon_edge.audio.devices import WORDS, AudioDevice, Direction, choose_device
from antiphon_edge.audio.portaudio import list_devices
from antiphon_edge.audio.volume import FULL
from antiphon_edge.doctor.spoken_test import try_sound
from antiphon_edge.doctor.worker import check_worker
from antiphon_edge.errors import AudioDeviceError, CredentialsError
from antiphon_edge.transport.credentials import Credentials, clean_api_key

T = TypeVar("T")

DEFAULT = "default"
NONE = "none"


@dataclass(slots=True)
class Answers:
    """What is known so far: flags, variables, and the file of the last time."""

    input_device: str | None
    output_device: str | None
    volume: float
    server: str
    credentials: Credentials
    transcriber: str | None


def ask_sound(answers: Answers, given: Set[str], *, test: bool) -> None:
    """Microphone, speaker and volume, until the person is content with what is to be heard of them.

    Args:
        answers: filled in.
        given: the parameters that are not asked for.
        test: offer the spoken test.
    """
    try:
        devices = list_devices()
        if not devices:
            raise AudioDeviceError("there is no microphone and no speaker here")
    except AudioDeviceError as error:
        click.echo(f"{error}; run setup again when that is mended.")
        return
    while True:
        if "input_device" not in given:
            answers.input_device = _device(devices, "input", answers.input_device)
        if "output_device" not in given:
            answers.output_device = _device(devices, "output", answers.output_device)
        if "volume" not in given:
            answers.volume = ask("Volume, 0 to 100", f"{answers.volume:g}", Number(min=0, max=FULL))
        if not test or not confirm("Try the sound?", True) or _test(answers):
            return


def ask_worker(answers: Answers, given: Set[str]) -> None:
    """Worker, encryption, API key and transcription worker, until it answers or the person leaves it at that."""
    while True:
        if "server" not in given:
            answers.server = ask("Worker, HOST:PORT", answers.server, Address())
        credentials = answers.credentials
        if not given & {"tls", "insecure"} and not is_loopback(answers.server):
            tls = confirm("Encrypt what goes there (TLS)?", credentials.tls or not credentials.insecure)
            credentials = replace(credentials, tls=tls, insecure=not tls)
        if "api_key_file" not in given:
            credentials = replace(credentials, api_key=_api_key(credentials.api_key))
        answers.credentials = credentials
        worker = asyncio.run(check_worker(answers.server, credentials))
        if worker.problem is None:
            click.echo(f"  {worker.model} answers in {worker.round_trip_ms:.0f} ms; {worker.free_slots} slots are free")
            break
        click.echo(f"  {plain_line(in_flags(worker.problem, click.get_current_context().command))}")
        if {"server", "api_key_file"} <= given or not confirm("Answer again?", True):
            break
    if "transcriber" not in given:
        kept = answers.transcriber or NONE
        said = ask("Worker that writes down what you say", kept, _address_or_none)
        answers.transcriber = None if said == NONE else said


def ask(question: str, default: str, parse: Callable[[str], T]) -> T:
    """The answer, or `default` for none, asked for until `parse` takes it.

    The question is printed here: Python prints that of `input` to C's standard error, which `audio/driver_noise` has
    led away.
    """
    while True:
        click.echo(f"{question} [{plain_line(default)}]: ", nl=False)
        said = click.prompt("", default, prompt_suffix="", show_default=False)
        try:
            return parse(said)
        except click.UsageError as error:
            click.echo(f"  {plain_line(error.message)}")


def confirm(question: str, default: bool) -> bool:
    """Yes or no."""
    click.echo(f"{question} [{'Y/n' if default else 'y/N'}]: ", nl=False)
    return click.confirm("", default, prompt_suffix="", show_default=False)


def _device(devices: list[AudioDevice], direction: Direction, choice: str | None) -> str | None:
    """The name that will lead to the device, however they are counted then; None for the system's default."""
    word = WORDS[direction]
    usable = [device for device in devices if device.channels(direction)]
    if not usable:
        click.echo(f"There is no {word} here: connect one, and run setup again.")
        return choice
    click.echo(f"{word.capitalize()}s:")
    for device in usable:
        click.echo(plain_line(str(device)))

    def chosen(text: str) -> str:
        if text != DEFAULT:
            try:
                choose_device(devices, direction, text)
            except AudioDeviceError as error:
                raise click.UsageError(str(error)) from None
        return text

    said = ask(f"{word.capitalize()}, number or name", choice or DEFAULT, chosen)
    return None if said == DEFAULT else lasting_name(devices, direction, said)


def lasting_name(devices: list[AudioDevice], direction: Direction, choice: str) -> str:
    """The name of the device that `choice` means, or `choice` where another has the same name."""
    device = choose_device(devices, direction, choice)
    try:
        same = choose_device(devices, direction, device.lasting_name)
    except AudioDeviceError:
        return choice
    return device.lasting_name if same == device else choice


def _test(answers: Answers) -> bool:
    """Whether all is well with the sound."""
    click.echo("  Listen ...")
    try:
        found = asyncio.run(
            try_sound(
                answers.input_device,
                answers.output_device,
                answers.volume,
                lambda: click.echo("  Now say something; after four seconds you hear what was heard."),
            )
        )
    except AudioDeviceError as error:
        click.echo(f"  {plain_line(str(error))}")
        return False
    for finding in found.findings():
        click.echo(f"  {plain_line(finding)}")
    return confirm("Did you hear the sentence, and then yourself?", True)


def _api_key(old: str | None) -> str | None:
    about = "Enter keeps the one there is, none forgets it" if old else "Enter for none"

    def cleaned(text: str) -> str | None:
        if text in ("", NONE):
            return NONE if text else ""
        try:
            return clean_api_key(text, "the answer")
        except CredentialsError as error:
            raise click.UsageError(str(error)) from None

    said = click.prompt(f"API key ({about})", "", hide_input=True, show_default=False, value_proc=cleaned)
    return old if said == "" else None if said == NONE else said


def _address_or_none(text: str) -> str:
    return text if text == NONE else Address()(text)
