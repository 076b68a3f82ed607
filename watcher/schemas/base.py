"""Base classes and shared types of the models: amounts, times, depths and problems."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PlainSerializer,
    PrivateAttr,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from notifier.events import rfc3339
from watcher.errors import Refused
from watcher.schemas.fields import DEFAULT_LIMIT, CursorIn, IdIn, LimitIn
from watcher.text import quote, suggest

#: Members of one object in a request, more than any has, and errors that a refusal names. Each error costs
#: time, and a body has room for a hundred thousand.
MAX_MEMBERS = 100
MAX_ERRORS = 50

#: Characters of a name in an error.
MAX_NAME_CHARACTERS = 100


class Document(BaseModel):
    """A document in a response."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    _raw: dict[str, Any] | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, document: dict[str, Any]) -> Self:
        """Parse a JSON document and keep it in :attr:`raw`. Raises :class:`pydantic.ValidationError`."""
        made = cls.model_validate(document)
        made._raw = document
        return made

    @property
    def raw(self) -> dict[str, Any]:
        """The JSON document as received, unknown fields included; of a nested document, its known fields."""
        return self.model_dump(mode="json") if self._raw is None else self._raw

    def __eq__(self, other: object) -> bool:
        """Compare the fields, not :attr:`raw`."""
        return type(self) is type(other) and self.__dict__ == other.__dict__


class Request(BaseModel):
    """A document in a request. Unknown fields are rejected; every field without a value can be left out."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    #: The word for a field in error messages.
    member: ClassVar[str] = "field"

    @classmethod
    def of(cls, document: object) -> Self:
        """Parse a JSON document; None is an empty one. Raises :class:`Refused` with every field error."""
        try:
            return cls.model_validate({} if document is None else document)
        except ValidationError as error:
            raise refusal(error) from None

    def document(self) -> dict[str, Any]:
        """Return the JSON document, without fields that were not set."""
        return self.model_dump(mode="json", exclude_unset=True)

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, document: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Reword pydantic's errors wherever the model is validated: in a route, a list, or by :meth:`of`."""
        if isinstance(document, Mapping) and len(document) > MAX_MEMBERS:
            raise PydanticCustomError(
                "request", f"has {len(document)} {cls.member}s; send at most {MAX_MEMBERS}"
            )
        try:
            return validate(document)
        except ValidationError as error:
            found = error.errors(include_url=False)[:MAX_ERRORS]
            lines = [_explained(line, cls.member, cls.model_fields) for line in found]
            raise ValidationError.from_exception_data(cls.__name__, lines) from None


class Page(Request):
    """Page of a list."""

    member: ClassVar[str] = "parameter"

    limit: LimitIn = DEFAULT_LIMIT
    """Maximum number of rows."""
    cursor: CursorIn | None = None
    """`next_cursor` of the previous page; leave it out for the first page."""


class OwnedPage(Page):
    """Page of a list of objects that belong to merchants."""

    merchant: IdIn | None = None
    """For an operator: only objects of this merchant. A merchant sees only its own."""


def refusal(error: ValidationError) -> Refused:
    """Return the refusal that names every invalid field, one in a list by its index: ``intents.3.amount``."""
    lines = [(".".join(map(str, line["loc"])), line["msg"]) for line in error.errors(include_url=False)]
    if any(not field for field, _ in lines):
        return Refused("validation", f"the body {lines[0][1]}")
    return Refused("validation", errors=[{"field": field, "message": message} for field, message in lines])


def _explained(line: ErrorDetails, member: str, known: Collection[str]) -> InitErrorDetails:
    kind, value = line["type"], line["input"]
    place = tuple(part[:MAX_NAME_CHARACTERS] if isinstance(part, str) else part for part in line["loc"])
    if kind == "missing":
        message = "is missing"
    elif kind == "extra_forbidden":
        message = f"unknown {member}{suggest(str(place[-1]), known)}"
    elif kind in ("enum", "literal_error"):
        message = f"{quote(value)} is unknown; write {line['ctx']['expected'].replace(chr(39), '')}"
    elif kind == "value_error":
        message = str(line["ctx"]["error"])
    else:
        message = _MESSAGES.get(kind, line["msg"])
    return InitErrorDetails(type=PydanticCustomError("request", message), loc=place, input=value)


#: Messages by pydantic's type of error.
_MESSAGES = {
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
}


def _digits(value: object) -> object:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("is not a number of base units in decimal digits")


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is no time of the years 1 to 9999 in UTC") from None


def _to_rfc3339(moment: datetime) -> str:
    return rfc3339(moment.timestamp())


#: An amount in base units: ``int`` in Python, decimal digits as text in JSON.
Amount = Annotated[
    int,
    BeforeValidator(_digits),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]+$", "examples": ["50000"]}),
]

#: A moment: ``datetime`` in UTC, RFC 3339 with milliseconds in JSON.
Time = Annotated[
    datetime,
    AfterValidator(_utc),
    PlainSerializer(_to_rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-20T12:00:00.000Z"]}),
]

Hex = Annotated[str, Field(pattern="^0x[0-9a-f]*$")]
Metadata = dict[str, str]

# Values that several examples share.
EXAMPLE_ADDRESS = "SP2J6ZY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7"
EXAMPLE_SBTC = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token::sbtc-token"
EXAMPLE_TX_ID = "0x6f7d1d2b1c0f3c5e0f6a4f2d9b8e7c6d5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d"
EXAMPLE_BLOCK_HASH = "0x9a8b7c6d5e4f3a2b1c0d6f7d1d2b1c0f3c5e0f6a4f2d9b8e7c6d5a4b3c2d1e0f"


class Depth(Document):
    """Confirmations: Stacks blocks, the transfer's own included, and Bitcoin blocks after it."""

    stacks: int
    bitcoin: int


class FieldError(Document):
    """Error of one field."""

    field: str
    message: str


class Problem(Document):
    """An error (RFC 9457). ``code`` is short and stable; ``detail`` is a message for humans."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldError] | None = None
    """For `validation`: the invalid fields, 50 at most."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Unprocessable Content",
                    "status": 422,
                    "code": "validation",
                    "detail": "amount: 0 is not a number of base units; write 1 to 2^128-1 in decimal digits",
                    "errors": [
                        {
                            "field": "amount",
                            "message": "0 is not a number of base units; "
                            "write 1 to 2^128-1 in decimal digits",
                        }
                    ],
                }
            ]
        }
    )


def example(document: Mapping[str, Any]) -> ConfigDict:
    """Return the configuration of a model with an example."""
    return ConfigDict(json_schema_extra={"examples": [dict(document)]})
