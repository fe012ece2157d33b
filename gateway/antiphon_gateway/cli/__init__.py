"""The command line `antiphon-gateway`."""
