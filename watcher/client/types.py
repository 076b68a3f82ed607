"""What the calls share: how callers may write things, and calls that take several requests."""

from collections.abc import Generator
from datetime import datetime
from typing import Any

from watcher.client.request import A, Request
from watcher.client.retry import Sleep

#: A time: RFC 3339, unix seconds, or a datetime with its zone.
Moment = datetime | str | int

#: Base units: ``int``, or decimal digits.
Units = int | str

#: Several requests that make one call: yields them and pauses, gets what they bring.
Workflow = Generator[Request[Any] | Sleep, Any, A]
