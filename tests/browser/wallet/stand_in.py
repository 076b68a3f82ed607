"""A wallet that stands in for those of payers: it signs for real, and the chain mines what it signed.

What it does not know it refuses, as the strictest wallet of its kind would. ``behaviour`` lets it misbehave.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from playwright.async_api import BrowserContext

from chain.clarity import Buffer, PrincipalValue, UInt, decode
from chain.model import STX, ContractCall, TxStatus
from chain.node.transaction import RawTransaction, parse_transaction
from chain.testing import txs
from chain.testing.tx import Tx
from contracts.calls import read_payment_call, read_transfer_call
from contracts.refund_call import REFUND_STX, REFUND_TOKEN
from contracts.terms import PAY_STX

FOLDER = Path(__file__).parent
ANSWER_SECONDS = 30

_REFUSED = {"code": -32000, "message": "User rejected the Stacks transaction signing request"}
_INVALID = {"code": -32602, "message": "Invalid parameters"}
_UNKNOWN = {"code": -32601, "message": "Method is not supported"}

#: By wallet and method: what must be named, and what may be beside it.
_COMMON = ("address", "network", "fee", "nonce", "sponsored")
_STX = ("recipient", "amount"), ("memo",)
_CALL = ("contract", "functionName", "functionArgs", "postConditions", "postConditionMode")
_TAKES: dict[str, dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "Leather": {
        "getAddresses": ((), ()),
        "stx_transferStx": (_STX[0], (*_STX[1], *_COMMON)),
        "stx_callContract": (_CALL, _COMMON),
    },
    "Xverse": {
        "wallet_connect": ((), ("permissions", "addresses", "message", "network")),
        "stx_transferStx": _STX,
        # Older ones read `arguments` only.
        "stx_callContract": ((*_CALL, "arguments"), ()),
    },
    "OKX Wallet": {
        "connect": ((), ()),
        "token_transfer": (("recipient", "amount", "stxAddress"), ("memo", "anchorMode")),
        "contract_call": (
            (
                *("contractAddress", "contractName", "functionName", "functionArgs"),
                *("postConditions", "postConditionMode", "stxAddress"),
            ),
            ("anchorMode",),
        ),
    },
}
_TAKES["Asigna"] = _TAKES["Leather"]
_CONNECTS = ("getAddresses", "wallet_connect", "connect")


class Signer:
    """The process that has the keys."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._lock = asyncio.Lock()

    async def ask(self, operation: str, **fields: Any) -> Any:
        """Return the answer to a request."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        async with self._lock, asyncio.timeout(ANSWER_SECONDS):
            stdin.write(json.dumps({"op": operation, **fields}).encode() + b"\n")
            await stdin.drain()
            answer = json.loads(await stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["ok"]


@asynccontextmanager
async def signing() -> AsyncIterator[Signer]:
    """Run the process."""
    node = shutil.which("node")
    assert node is not None
    process = await asyncio.create_subprocess_exec(
        node,
        str(FOLDER / "signer.mjs"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    try:
        yield Signer(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(ANSWER_SECONDS):
            await process.wait()


@dataclass
class StandInWallet:
    """Wallets of these ``kinds`` in one browser, with one account.

    ``behaviour``: ``pays``, ``silent`` (never answers a request for money), ``refuses``, ``cannot``, ``lies``
    (answers a transaction that it never sends), ``short`` (sends one unit less), ``twice``.
    """

    signer: Signer
    addresses: dict[str, str]
    kinds: tuple[str, ...] = ("Leather",)
    behaviour: str = "pays"
    network: str = "mainnet"
    #: Whom the payment contract gives refunds to: it knows, and here a test does.
    payer: str | None = None
    #: Asset identifier by contract, of the tokens that the wallet holds.
    assets: dict[str, str] = field(default_factory=lambda: {txs.SBTC_CONTRACT: txs.SBTC})
    #: Requests as they came: wallet, method, parameters.
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    #: What was signed and sent, to be put into the chain.
    sent: list[Tx] = field(default_factory=list)
    _connected: set[str] = field(default_factory=set)

    @classmethod
    async def of(cls, signer: Signer, *kinds: str, **fields: Any) -> "StandInWallet":
        """Return wallets of these kinds."""
        return cls(signer, await signer.ask("addresses"), kinds or ("Leather",), **fields)

    @property
    def address(self) -> str:
        """The account's address on mainnet."""
        return self.addresses["mainnet"]

    async def install(self, context: BrowserContext) -> None:
        """Put the wallets into every page of a browser that is opened from now on."""
        await context.expose_function("standInWallet", self._answer)
        script = (FOLDER / "provider.js").read_text()
        for kind in self.kinds:
            await context.add_init_script(f"({script.strip().removesuffix(';')})({json.dumps(kind)})")

    def payments(self) -> list[tuple[str, str]]:
        """Return the wallet and method of every request for money."""
        return [(kind, method) for kind, method, _ in self.asked if method not in _CONNECTS]

    async def _answer(self, kind: str, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        given = params or {}
        if kind == "OKX Wallet" and method == "signTransaction":
            method = given.pop("txType", "")
        self.asked.append((kind, method, given))
        takes = _TAKES[kind].get(method)
        if takes is None:
            return {"error": _UNKNOWN}
        required, optional = takes
        if not set(required) <= given.keys() <= {*required, *optional}:
            return {"error": _INVALID}
        if method in _CONNECTS:
            self._connected.add(kind)
            own = {"address": self.addresses[self.network], "publicKey": "02" + "00" * 32}
            bitcoin = {"address": "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh", "symbol": "BTC"}
            return {"result": own if kind == "OKX Wallet" else {"addresses": [bitcoin, own]}}
        if kind not in self._connected:
            return {"error": {"code": -32002, "message": "Access denied."}}
        return await self._pay(kind, method, given)

    async def _pay(self, kind: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if self.behaviour == "silent":
            await asyncio.Event().wait()
        if self.behaviour == "refuses":
            return {"error": {**_REFUSED, "code": 4001} if kind == "OKX Wallet" else _REFUSED}
        if self.behaviour == "cannot":
            return {"error": _UNKNOWN}
        if self.behaviour == "lies":
            return {"result": {"txid": "ab" * 32}}
        call = _standard(method, params) | {"network": self.network}
        if "amount" in call:
            if kind == "Leather":  # a number in its schema
                call["amount"] = str(int(float(call["amount"])))
            call["amount"] = str(int(call["amount"]) - (self.behaviour == "short"))
        method = "stx_transferStx" if "recipient" in call else "stx_callContract"
        for _ in range(2 if self.behaviour == "twice" else 1):
            signed = await self.signer.ask("sign", method=method, params=call, nonce=len(self.sent))
            self.sent.append(transaction(signed, self.assets, payer=self.payer))
        txid = self.sent[-1].tx_id
        names = {"OKX Wallet": {"txHash": txid, "signature": "00"}, "Leather": {"txid": txid[2:]}}
        return {"result": names.get(kind, {"txid": txid})}


def transaction(signed: dict[str, Any], assets: dict[str, str], *, payer: str | None) -> Tx:
    """Return what the chain makes of a signed transaction, from its bytes; ``payer``: whom refunds go to."""
    raw = bytes.fromhex(signed["raw"])
    made = _outcome(parse_transaction(raw), assets, payer)
    made = replace(made, tx_id=f"0x{signed['txid']}", raw=raw)
    return made if signed["aborts"] is None else made.failed(TxStatus.ABORT_BY_POST_CONDITION)


def _outcome(parsed: RawTransaction, assets: dict[str, str], payer: str | None) -> Tx:
    if parsed.transfer is not None:
        recipient, amount, memo = parsed.transfer
        return txs.stx_transfer(parsed.sender, recipient, amount, memo.rstrip(b"\0"))
    assert parsed.contract_id is not None
    assert parsed.function is not None
    call = ContractCall(contract_id=parsed.contract_id, function=parsed.function, args=parsed.args())
    assert call.args is not None
    transfer = read_transfer_call(call.args)
    if transfer is not None:
        assert transfer.sender == parsed.sender, "the token would refuse it"
        asset = assets[call.contract_id]
        return txs.sbtc_transfer(
            parsed.sender, transfer.recipient, transfer.amount, transfer.memo, asset=asset
        )
    if call.function in (REFUND_TOKEN, REFUND_STX):
        return _refund(call, parsed.sender, to=payer, assets=assets)
    payment = read_payment_call(call.function, call.args)
    assert payment is not None, f"no outcome is known of {call.function}"
    values = call.args if call.function == PAY_STX else call.args[1:]
    return txs.contract_payment(
        call.contract_id,
        parsed.sender,
        payment.merchant,
        payment.amount,
        expires_at=int.from_bytes(values[2][1:], "big"),
        salt=values[3][5:],
        asset=STX if payment.token is None else assets[payment.token],
    )


def _refund(call: ContractCall, sender: str, *, to: str | None, assets: dict[str, str]) -> Tx:
    """Return a refund through the payment contract, which knows who paid; a test says it."""
    assert call.args is not None
    assert to is not None
    *token, intent, amount = [decode(value) for value in call.args]
    assert isinstance(intent, Buffer)
    assert isinstance(amount, UInt)
    return txs.contract_refund(
        call.contract_id,
        sender,
        to,
        amount.value,
        intent_id=intent.value,
        asset=assets[str(token[0].value)] if token and isinstance(token[0], PrincipalValue) else STX,
    )


def _standard(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return parameters as SIP-030 names them, whatever the wallet calls them."""
    call = {key: value for key, value in params.items() if key not in ("address", "stxAddress", "anchorMode")}
    if method == "contract_call":
        call["contract"] = f"{call.pop('contractAddress')}.{call.pop('contractName')}"
        call["postConditionMode"] = {1: "allow", 2: "deny"}[call["postConditionMode"]]
    if "arguments" in call:
        call["functionArgs"] = call.pop("arguments")
    return call
