"""The CPU's int8 step in C++: compiled on the machine that runs it, where it has a compiler.

Nothing else depends on it: without a compiler, or where the compiled library fails its check, torch takes the step.
"""
