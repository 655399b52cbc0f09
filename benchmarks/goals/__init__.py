"""Measures the goals of the pool beside their references: ``python -m benchmarks goals``.

Each goal has a module that measures it and says what came of it. Nothing here decides what is
promised to users: that stands in ``benchmarks.promises``.
"""
