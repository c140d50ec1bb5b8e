"""Benchmarks. Each prints a ratio or a figure beside something measured in the same run, since machines differ and are busy."""
