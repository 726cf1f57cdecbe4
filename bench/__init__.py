"""Measurements, never tests: `make bench` runs them and writes docs/benchmarks.md.

A figure is a median with its spread. Rivals are measured in the same run, in turn with ours (A B A B),
because the speed of a shared machine drifts.
"""
