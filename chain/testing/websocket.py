"""The WebSocket ``/extended/v1/ws`` of the Stacks Blockchain API v9.0.2: JSON-RPC subscriptions, pings, bugs.

Three bugs matter to clients and are reproduced: a client that misses a pong is unsubscribed while its socket
stays open; of several ``address_tx_update`` or ``tx_update`` subscriptions on one socket only the first
survives a heartbeat; a server that restarts sends nothing at all to its old sockets.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from chain.address import AddressError, parse_principal
from chain.testing import render
from chain.testing.scripted import Announcement, BlockSeen
from chain.testing.view import View

#: The topic parameter by event; other events have no topic.
_TOPICS = {"tx_update": "tx_id", "address_tx_update": "address", "address_balance_update": "address"}
_EVENTS = (
    *("block", "microblock", "mempool", *_TOPICS),
    *("nft_event", "nft_asset_event", "nft_collection_event"),
)
_HASH_LENGTH = 66


@dataclass(slots=True)
class _Subscriptions:
    """Subscribers of one event by topic ("" if it has none), and whether each answered the last ping."""

    topics: dict[str, list[web.WebSocketResponse]] = field(default_factory=dict)
    alive: dict[web.WebSocketResponse, bool] = field(default_factory=dict)

    def add(self, topic: str, socket: web.WebSocketResponse) -> None:
        subscribers = self.topics.setdefault(topic, [])
        if socket not in subscribers:
            subscribers.append(socket)
        self.alive[socket] = True

    def remove(self, topic: str, socket: web.WebSocketResponse) -> None:
        subscribers = self.topics.get(topic, [])
        if socket in subscribers:
            subscribers.remove(socket)
        if not subscribers:
            self.topics.pop(topic, None)

    def forget(self, socket: web.WebSocketResponse) -> None:
        for topic in tuple(self.topics):
            self.remove(topic, socket)
        self.alive.pop(socket, None)

    def beat(self) -> list[web.WebSocketResponse]:
        """Unsubscribe silent sockets; return the others, for a ping.

        There is one mark per socket, not per topic, so a socket marked at its first topic looks silent at its
        second.
        """
        to_ping = []
        for topic, subscribers in tuple(self.topics.items()):
            for socket in tuple(subscribers):
                if self.alive.get(socket, False):
                    self.alive[socket] = False
                    to_ping.append(socket)
                else:
                    self.remove(topic, socket)
        return to_ping


class Hub:
    """All sockets of one server and their subscriptions."""

    def __init__(self) -> None:
        self._sockets: set[web.WebSocketResponse] = set()
        self._subscriptions = {event: _Subscriptions() for event in _EVENTS}

    @property
    def sockets(self) -> int:
        """Number of open sockets."""
        return len(self._sockets)

    def subscribers(self, event: str, topic: str = "") -> int:
        """Number of sockets subscribed to an event (of a topic)."""
        return len(self._subscriptions[event].topics.get(topic, ()))

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one client until it disconnects."""
        # Pongs must be handled here, so pings are answered here too.
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            async for message in socket:
                if socket not in self._sockets:
                    continue
                if message.type is WSMsgType.PING:
                    await socket.pong(message.data)
                elif message.type is WSMsgType.PONG:
                    self._answered(socket)
                elif message.type is WSMsgType.TEXT:
                    for reply in self._replies(socket, message.data):
                        await socket.send_str(json.dumps(reply))
        except ConnectionError:
            pass  # The client is gone.
        finally:
            self._forget(socket)
        return socket

    async def heartbeat(self) -> None:
        """Ping every subscribed socket, once per kind of event; drop those that missed the last ping."""
        for subscriptions in self._subscriptions.values():
            for socket in subscriptions.beat():
                try:
                    await socket.ping()
                except ConnectionError:
                    self._forget(socket)

    async def announce(self, announcement: Announcement, view: View) -> None:
        """Notify subscribers in the real server's order: block, transactions, then addresses descending."""
        for event, topic, params in _notifications(announcement, view):
            text = json.dumps({"jsonrpc": "2.0", "method": event, "params": params})
            for socket in tuple(self._subscriptions[event].topics.get(topic, ())):
                try:
                    await socket.send_str(text)
                except ConnectionError:
                    self._forget(socket)

    def abandon(self) -> None:
        """Forget all sockets without closing them, as a restarting server does: they get no more messages."""
        for socket in tuple(self._sockets):
            self._forget(socket)

    async def close(self) -> None:
        """Close all sockets properly."""
        for socket in tuple(self._sockets):
            self._forget(socket)
            await socket.close()

    def _forget(self, socket: web.WebSocketResponse) -> None:
        self._sockets.discard(socket)
        for subscriptions in self._subscriptions.values():
            subscriptions.forget(socket)

    def _answered(self, socket: web.WebSocketResponse) -> None:
        for subscriptions in self._subscriptions.values():
            if socket in subscriptions.alive:
                subscriptions.alive[socket] = True

    def _replies(self, socket: web.WebSocketResponse, text: str) -> Iterator[Any]:
        try:
            message = json.loads(text)
        except ValueError:
            yield _error(None, -32700, "Parse error", text)
            return
        for request in message if isinstance(message, list) else [message]:
            if not isinstance(request, dict) or not isinstance(request.get("method"), str):
                yield _error(None, -32600, "Invalid request")
            elif "id" in request:
                yield self._reply(socket, request)

    def _reply(self, socket: web.WebSocketResponse, request: dict[str, Any]) -> Any:
        number, method, params = request["id"], request["method"], request.get("params")
        if method not in ("subscribe", "unsubscribe"):
            return _error(number, -32601, "Method not found")
        event = params.get("event") if isinstance(params, dict) else None
        if not isinstance(params, dict) or event not in self._subscriptions:
            return _error(
                number, -32602, "Invalid params", "subscription request must use a valid event name"
            )
        name = _TOPICS.get(event)
        topic = str(params.get(name, "")) if name else ""
        if name == "address" and not _is_principal(topic):
            return _error(number, -32602, "Invalid params", "invalid address")
        if name == "tx_id" and (len(topic) != _HASH_LENGTH or not topic.startswith("0x")):
            return _error(number, -32602, "Invalid params", "invalid tx_id")
        if method == "subscribe":
            self._subscriptions[event].add(topic, socket)
        else:
            self._subscriptions[event].remove(topic, socket)
        return {"jsonrpc": "2.0", "id": number, "result": {name: topic} if name else {}}


def _notifications(announcement: Announcement, view: View) -> Iterator[tuple[str, str, Any]]:
    """(event, topic, params) of an announcement."""
    if not isinstance(announcement, BlockSeen):
        shown = render.pending_v1(announcement.entry)
        yield "mempool", "", shown
        yield "tx_update", announcement.entry.tx.tx_id, shown
        return
    block = announcement.block
    yield "block", "", render.block_v1(block, canonical=announcement.canonical)
    was_pending = {entry.tx.tx_id: entry for entry in announcement.was_pending}
    for tx in block.txs:
        if tx.tx_id in was_pending:
            # Announced as pending once more, although it is mined.
            yield "mempool", "", render.pending_v1(was_pending[tx.tx_id])
        place, entry = view.place(tx.tx_id), view.pooled(tx.tx_id)
        if place is not None:
            yield "tx_update", tx.tx_id, render.transaction_v1(*place)
        elif entry is not None:
            yield "tx_update", tx.tx_id, render.pending_v1(entry)
    if announcement.canonical:
        for index in reversed(range(len(block.txs))):
            for address in sorted(block.txs[index].participants):
                yield "address_tx_update", address, render.address_update(block, index, address)


def _error(number: Any, code: int, message: str, data: str | None = None) -> Any:
    error: dict[str, Any] = {"message": message, "code": code}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": number, "error": error}


def _is_principal(text: str) -> bool:
    try:
        parse_principal(text)
    except AddressError:
        return False
    return True
