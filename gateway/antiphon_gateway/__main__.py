"""The console command `antiphon-gateway`, also as `python -m antiphon_gateway`."""

from antiphon.cli.start import start


def main() -> None:
    """Entry point."""
    start("antiphon-gateway", "antiphon_gateway.cli.commands", distribution="antiphon-gateway")


if __name__ == "__main__":
    main()
