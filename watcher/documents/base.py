"""What the models share: amounts, times, and problems."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    WithJsonSchema,
)

from notifier.events import rfc3339


class Document(BaseModel):
    """A document that the server answers with."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    _raw: dict[str, Any] | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, document: dict[str, Any]) -> Self:
        """Return the model of a JSON document and keep that in :attr:`raw`. Raises :class:`pydantic.ValidationError`."""
        made = cls.model_validate(document)
        made._raw = document
        return made

    @property
    def raw(self) -> dict[str, Any]:
        """The JSON document as it came, with what this version does not know; of a part, as this version knows it."""
        return self.model_dump(mode="json") if self._raw is None else self._raw

    def __eq__(self, other: object) -> bool:
        """Compare what they say, whatever they were read from."""
        return type(self) is type(other) and self.__dict__ == other.__dict__


class Request(BaseModel):
    """A document that a caller sends. Unknown fields are refused; leave out what is not needed."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


def _digits(value: object) -> object:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("is not a number of base units in decimal digits")


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _written(moment: datetime) -> str:
    return rfc3339(moment.timestamp())


#: Base units: ``int`` in Python, decimal digits as text in JSON.
Amount = Annotated[
    int,
    BeforeValidator(_digits),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]+$", "examples": ["50000"]}),
]

#: Base units as callers may write them: digits as text, or a whole number that JSON can carry.
AmountIn = Annotated[
    int | str,
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": "^[0-9]{1,39}$"},
                {"type": "integer", "minimum": 0, "maximum": 340282366920938463463374607431768211455},
            ],
            "examples": ["50000"],
        }
    ),
]

#: A moment: ``datetime`` in UTC, RFC 3339 with milliseconds in JSON.
Time = Annotated[
    datetime,
    AfterValidator(_utc),
    PlainSerializer(_written, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-20T12:00:00.000Z"]}),
]

#: A moment as callers may write it: RFC 3339 with its zone, or unix seconds.
TimeIn = Annotated[
    str | int,
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "format": "date-time"}, {"type": "integer", "minimum": 0}],
            "examples": ["2026-11-20T12:00:00Z"],
        }
    ),
]

#: A duration as callers may write it: ``30m``, ``24h``, ``5d``, or seconds.
DurationIn = Annotated[
    str | int,
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}], "examples": ["30m"]}),
]

Hex = Annotated[str, Field(pattern="^0x[0-9a-f]*$")]
Metadata = dict[str, str]


class FieldError(Document):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(Document):
    """An error (RFC 9457). ``code`` is short and stable; ``detail`` is for people."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldError] | None = None
    """For `validation`: each field that is wrong."""

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
                            "message": "0 is not a number of base units; write 1 to 2^128-1 in decimal digits",
                        }
                    ],
                }
            ]
        }
    )


def example(document: Mapping[str, Any]) -> ConfigDict:
    """Return the configuration of a model with an example."""
    return ConfigDict(json_schema_extra={"examples": [dict(document)]})
