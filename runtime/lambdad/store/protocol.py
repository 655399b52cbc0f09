"""What a store does: deeds, one transaction each.

A store is defined by ``tests/conformance/store``, which every driver must pass. Nothing of a
database is seen here: no connection, no cursor, no id made by it. Time and ids come in as values.

Every deed may raise ``PlatformFault``: the disk is full, the database is damaged, the store does
not run. A deed that was waited for is durable; one that was cancelled may have happened.
"""

from __future__ import annotations

from typing import Protocol

from lambdad.model.function import Function


class AlreadyExists(Exception):
    """There is a function of this name."""


class Functions(Protocol):
    """The functions, one record each, under their names."""

    async def create_function(self, function: Function) -> None:
        """Keep a new function.

        Raises:
            AlreadyExists: the name is taken; the record under it is untouched.
        """

    async def functions(self) -> list[Function]:
        """All functions, in the order of their names' bytes."""

    async def replace_function(self, new: Function, *, expected_revision: str) -> bool:
        """Put ``new`` in place of the function of its name, if that is at the expected revision.

        Returns:
            Whether it was; if not, nothing has changed.
        """

    async def delete_function(self, name: str) -> bool:
        """Forget a function; whether there was one."""


class Store(Functions, Protocol):
    """The durable memory of the daemon."""

    async def start(self) -> None:
        """Open it, making or updating what is on disk.

        Raises:
            PlatformFault: it cannot be opened, is damaged, or belongs to something else.
        """

    async def stop(self) -> None:
        """Carry out what was accepted, then close. Does nothing if it does not run."""
