"""Version 1 of the contract, generated from dialogue.proto by tools/generate_stubs.py."""
