"""Benchmarks of archiver beside its peers; run with `python -m benchmarks --help`."""
