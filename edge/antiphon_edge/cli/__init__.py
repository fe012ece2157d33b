"""The command line `antiphon-edge`: the commands, and the options that they share."""
