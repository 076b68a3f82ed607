"""Who calls: merchants by API keys, operators by the admin token."""

import hmac
from typing import TYPE_CHECKING

from fastapi import Request

from watcher.api.caller import Caller
from watcher.api.errors import Problem, not_found, rate_limited
from watcher.schemas import Scope

if TYPE_CHECKING:
    from watcher.api.transactions import TransactionRunner

_REALM = 'Bearer realm="sbtc-watcher"'


def api_of(request: Request) -> "TransactionRunner":
    """Return the API that the request came to."""
    api: TransactionRunner = request.app.state.api
    return api


async def authenticate_operator(request: Request) -> Caller:
    """Return the operator who calls with the admin token. Raises :class:`Problem` (401, 404, 429)."""
    api = api_of(request)
    if api.settings.admin_token is None:
        not_found()
    token = _token(request)
    if not _is_admin(api, token):
        raise _unauthorized("the admin token is wrong", error="invalid_token")
    caller = Caller(merchant=None, actor="admin")
    _limit(api, request, caller)
    return caller


async def authenticate(request: Request, scope: Scope) -> Caller:
    """Return who calls: a merchant whose key has a scope, or an operator. Raises :class:`Problem` (401, 403,
    429).
    """
    api = api_of(request)
    token = _token(request)
    if _is_admin(api, token):
        caller = Caller(merchant=None, actor="admin")
        _limit(api, request, caller)
        return caller
    owner = await api.key_owner(token)
    if owner is None:
        raise _unauthorized("the API key is wrong, or not valid any more", error="invalid_token")
    caller = Caller(merchant=owner.merchant, actor=f"key:{owner.key_id}", key_id=owner.key_id)
    request.scope["state"]["caller"] = caller.actor
    _limit(api, request, caller)
    api.key_uses.add(owner.key_id)
    if scope not in owner.scopes:
        raise Problem(
            403,
            "missing_scope",
            f"this API key may not {scope}; use one with the scope {scope}",
            headers={"www-authenticate": f'{_REALM}, error="insufficient_scope", scope="{scope}"'},
        )
    return caller


def _token(request: Request) -> str:
    given = request.headers.getlist("authorization")
    kind, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    token = token.strip()
    if kind.lower() != "bearer" or not token:
        raise _unauthorized("send your API key: Authorization: Bearer sk_…")
    return token


def _is_admin(api: "TransactionRunner", token: str) -> bool:
    secret = api.settings.admin_token
    if secret is None:
        return False
    return hmac.compare_digest(token.encode("latin-1", "replace"), secret.get_secret_value().encode())


def _limit(api: "TransactionRunner", request: Request, caller: Caller) -> None:
    headers, wait = api.rate_limit.take(caller.key_id or caller.actor)
    request.scope["state"]["headers"] = headers
    if wait is not None:
        raise rate_limited("this key asks too often", wait)


def _unauthorized(detail: str, *, error: str | None = None) -> Problem:
    challenge = _REALM if error is None else f'{_REALM}, error="{error}"'
    return Problem(401, "unauthorized", detail, headers={"www-authenticate": challenge})
