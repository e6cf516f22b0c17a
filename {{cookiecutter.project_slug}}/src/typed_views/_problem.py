"""The problems that operations answer with, as their document describes them (RFC 9457)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from werkzeug.http import HTTP_STATUS_CODES

from ._errors import INVALID_REQUEST


@dataclass(frozen=True)
class Problem:
    """A problem that an operation can answer with.

    Attributes:
        status: the HTTP status.
        description: when it is the answer.
        kind: its type, a URI reference; without it the status alone identifies the problem.
        members: a model of further members of the object, or of all its members.
        headers: the headers of the answer, each with its description.
        example: the further members in the document's example.
    """

    status: int
    description: str
    kind: str = "about:blank"
    members: type[BaseModel] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    example: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The phrase of its status; those of `http.HTTPStatus` have changed in Python 3.13."""
        return HTTP_STATUS_CODES.get(self.status, "Unknown Error")


class ProblemDetails(BaseModel):
    """A problem (RFC 9457)."""

    model_config = ConfigDict(title="Problem", extra="allow")

    type: str = Field("about:blank", description="A URI that tells what kind of problem it is.")
    title: str = Field(description="The phrase of the status.")
    status: int = Field(description="The status of the response.")
    detail: str = Field(description="What went wrong this time.")
    instance: str = Field("", description="The path of the request.")
    request_id: str | None = Field(None, description="The id of the request in the logs.")


class FaultDetails(BaseModel):
    """A fault of a request, with its place: one of `pointer`, `parameter` and `header`."""

    model_config = ConfigDict(title="Fault")

    detail: str = Field(description="What is wrong there.")
    pointer: str = Field("", description="A JSON pointer into the body, as a URI fragment.")
    parameter: str = Field("", description="The name of a parameter of the query or the path.")
    header: str = Field("", description="The name of a header.")


class InvalidRequestDetails(ProblemDetails):
    """The problem of a request that is not as declared."""

    model_config = ConfigDict(title="InvalidRequest")

    errors: list[FaultDetails]


UNREADABLE = Problem(400, "The body cannot be read: `detail` says what is wrong, and where.")
NOT_FOUND = Problem(404, "Nothing was found at this path.")
TOO_LARGE = Problem(413, "The body is larger than is accepted.")
WRONG_TYPE = Problem(415, "The body is of a media type that is not accepted here.")
INVALID = Problem(
    422,
    "The request is invalid: `errors` lists each fault with its place.",
    INVALID_REQUEST,
    InvalidRequestDetails,
    example={"errors": [{"detail": "Field required", "pointer": "#/items/0/name"}]},
)
UNAUTHORIZED = Problem(
    401,
    "The request has no valid credentials.",
    headers={"WWW-Authenticate": "The scheme, and what is wrong with the credentials."},
)
FORBIDDEN = Problem(403, "The credentials do not allow this.")
