"""The CPU's step of a model in int8: C++ that is compiled on the machine that runs it."""
