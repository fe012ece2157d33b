"""The command line `antiphon-cloud`: the commands, and the options that they share."""
