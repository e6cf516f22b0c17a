"""Carries the result or the error of a call to its caller, which may be in another thread."""

from typing import Any


class Outcome:
    """The result or the error of a call, until `take` hands it over."""

    returned: Any = None
    raised: BaseException | None = None

    def take(self) -> Any:  # noqa: ANN401 - the call may return anything
        """Return the call's result and forget it.

        Raises:
            BaseException: the error that the call raised.
        """
        returned, raised = self.returned, self.raised
        self.forget()
        if raised is None:
            return returned
        try:
            raise raised
        finally:
            # The error's traceback refers to this frame. A variable here that kept the error would
            # form a cycle with it, which only the garbage collector could free.
            del raised

    def forget(self) -> None:
        """Drop the result or the error, whose traceback may refer to this object."""
        self.returned = self.raised = None
