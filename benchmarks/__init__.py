"""Measures lambdad beside its references, in one run: ``python -m benchmarks``.

It knows the daemon from outside only: its command line, its API, its log. No part of lambdad
knows it.
"""
