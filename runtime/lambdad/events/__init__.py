"""Asynchronous invocations: accepted now, run in a while, tried again if they fail."""
