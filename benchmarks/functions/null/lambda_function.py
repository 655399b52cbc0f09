"""The least that a function can do: what remains is the platform."""


def lambda_handler(_event: object, _context: object) -> None:
    """Nothing."""
