"""The console command `antiphon-edge`, also as `python -m antiphon_edge`."""

from antiphon.cli.start import start


def main() -> None:
    """Entry point."""
    start("antiphon-edge", "antiphon_edge.cli.commands", distribution="antiphon")


if __name__ == "__main__":
    main()
