"""Webhook endpoints, deliveries and events over HTTP."""

from typing import Any

import pytest
from standardwebhooks import Webhook

from chain.testing import txs
from notifier import deliveries
from notifier.resolver import Resolver  # noqa: F401
from tests.integration.http.everything import add_endpoint, make_everything
from tests.integration.http.office import ADMIN, Office, problem, wrong_fields
