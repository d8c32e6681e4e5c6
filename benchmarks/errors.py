"""The one error by which a benchmark gives up instead of reporting a wrong figure."""


class BenchmarkError(Exception):
    """A measurement is impossible or would not be trustworthy; the text says why."""
