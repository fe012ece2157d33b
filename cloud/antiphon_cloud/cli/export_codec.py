"""`export-codec`: exports the edge's codec from a model directory."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from antiphon.cli.command_line import option
from antiphon_cloud.cli.options import model_option, number_clerk


@click.command("export-codec")
@model_option
@option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder to write; MODEL/codec where absent, but never the number clerk's.",
)
@option(
    "--codebooks",
    type=click.IntRange(1),
    help="Codebooks of a frame; as many as the model hears or speaks where absent.",
)
@option(
    "--precision",
    type=click.Choice(["fp32", "int8"]),
    default="fp32",
    help="int8 is smaller and faster; its codes are those of another rounding.",
)
@option(
    "--report-wav",
    type=click.Path(path_type=Path),
    metavar="IN.wav",
    help="Speech (16-bit wav) to compare int8 with fp32 on: printed, and kept as codec-report.json.",
)
def export_codec_command(
    model: Path, out: Path | None, codebooks: int | None, precision: Literal["fp32", "int8"], report_wav: Path | None
) -> None:
    """Export the model's Mimi codec to ONNX for the edge."""
    if report_wav is not None and precision == "fp32":
        raise click.UsageError("--report-wav compares int8 with fp32: it needs --precision int8")
    clerk = number_clerk()
    if out is None and clerk is not None and model.resolve() == clerk.resolve():
        raise click.UsageError("the number clerk keeps the codec that it came with: give --model or --out")
    from antiphon_cloud.codec.model_codec import export_model_codec

    folder, codec = export_model_codec(model, out, codebooks, precision, report_wav)
    manifest = codec.manifest
    sizes = ", ".join(f"{graph.file} {graph.size_bytes / 1e6:.1f} MB" for graph in (manifest.encoder, manifest.decoder))
    click.echo(f"{folder}: {sizes}; {manifest.codebooks} codebooks of {manifest.cardinality}, {manifest.precision}")
    if codec.report is not None:
        click.echo(str(codec.report))
