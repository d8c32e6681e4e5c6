"""The peers' programs, each run as a process of its own and not imported."""
