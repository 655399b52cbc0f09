"""The nouns: immutable values, limits, names and errors. Imports nothing of lambdad's."""
