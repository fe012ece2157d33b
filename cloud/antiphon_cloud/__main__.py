"""The console command `antiphon-cloud`, also as `python -m antiphon_cloud`."""

from antiphon.cli.start import start


def main() -> None:
    """Entry point."""
    start("antiphon-cloud", "antiphon_cloud.cli.commands", distribution="antiphon-cloud")


if __name__ == "__main__":
    main()
