"""From a client's spelling of a function to a recorded one, or to AWS's refusal. Pure."""

from __future__ import annotations

from lambdad.model import arn
from lambdad.model.errors import ApiError, invalid_parameter, not_found


def read(spelling: str, qualifier: str | None, *, region: str) -> tuple[str, str | None]:
    """Name and qualifier, from both places where a qualifier may stand.

    Raises:
        ApiError: the spelling is none, is of another region, or the two qualifiers differ.
    """
    found = arn.parse(spelling)
    if found is None:
        raise ApiError("ValidationException", f"cannot read the function name '{spelling}'")
    if found.region is not None and found.region != region:
        raise not_found(
            f"Functions from '{found.region}' are not reachable in this region ('{region}')"
        )
    if qualifier and found.qualifier and qualifier != found.qualifier:
        raise invalid_parameter(
            "The derived qualifier from the function name does not match the specified qualifier."
        )
    return found.name, qualifier or found.qualifier
