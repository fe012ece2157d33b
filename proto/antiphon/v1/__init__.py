"""Version 1 of the contract, generated from dialogue.proto by tools/setup/generate_stubs.py."""
