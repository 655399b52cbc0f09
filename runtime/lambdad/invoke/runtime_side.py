"""What a runtime can say to its environment, through the Runtime API.

Here it is only declared: ``on_demand`` and ``managed`` say what becomes of it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from lambdad.invoke.invocation import Delivery, Run
from lambdad.invoke.runtime_state import Call, RuntimeState
from lambdad.invoke.stream import Stream
from lambdad.model.errors import FunctionError


class RuntimeSide(ABC):
    """The calls of a runtime, each a method; the state says which may come.

    Attributes:
        runtime_state: as the Runtime API counts it.
    """

    runtime_state = RuntimeState.STARTED

    @abstractmethod
    def next_event(self) -> asyncio.Future[Delivery]:
        """``GET /runtime/invocation/next``.

        Raises:
            Refused: not in this state.
        """

    @abstractmethod
    def begin_answer(self, request_id: str, call: Call) -> Run:
        """A response or error begins to arrive: check it before its body is read.

        Raises:
            Refused: not an event that is out, or not in this state.
        """

    @abstractmethod
    def answer(self, run: Run, payload: bytes) -> None:
        """The body of a response has been read."""

    @abstractmethod
    def answer_error(self, run: Run, error: FunctionError) -> None:
        """The body of an error has been read, or the response is not acceptable."""

    @abstractmethod
    def open_stream(self, run: Run, content_type: str) -> Stream:
        """The body of a response that streams begins."""

    @abstractmethod
    def end_stream(self, run: Run, error_type: str = "", error_body: bytes = b"") -> None:
        """It is complete, or will never be."""

    def begin_init_error(self) -> None:
        """``POST /runtime/init/error`` begins to arrive: check it before its body is read.

        Raises:
            Refused: init is over.
        """
        self.runtime_state = self._after(Call.INIT_ERROR)

    @abstractmethod
    def init_error(self, error: FunctionError) -> None:
        """The body of an init error has been read."""

    @abstractmethod
    def _after(self, call: Call) -> RuntimeState:
        """The state of the runtime after this call.

        Raises:
            Refused: it may not say that now.
        """
