"""A scripted Stacks chain and its API server, for tests, demos and development, without network or node.

:class:`ScriptedChain` is an in-memory tree of blocks with a fork choice and a mempool. :class:`ScriptedApi`
serves it over HTTP and WebSocket as the Stacks Blockchain API v9.0.2 does, oddities included, or as a later
version (:data:`VERSIONS`) is said to, and misbehaves on request::

    from chain.testing import ScriptedApi, ScriptedChain, principal, txs

    async def story() -> None:
        payer, merchant = principal("payer"), principal("merchant")
        chain = ScriptedChain()                                   # one block, height 100, Bitcoin 900,000
        async with ScriptedApi(chain) as api:                     # http://127.0.0.1:<free port>
            payment = txs.sbtc_transfer(payer, merchant, 50_000, memo=b"INV-1001")
            chain.add_pending(payment)
            paid = chain.mine([payment], burn=True)               # -> BlockHeader
            branch = chain.fork(paid.height - 1)                  # a fork right below it
            branch.mine([payment.failed()], n=2)               # same id, other outcome; wins by length
            assert chain.tip == branch.tip
            api.faults.fail(503, times=2)                         # the next two requests get a 503
            api.faults.rate_limit(retry_after=3, route="tx_multiple")
            api.lag(2)                                            # serve the chain as it was two blocks ago
            await api.wait_for("transactions", count=1)           # until a client has listed transactions

Everything is deterministic: hashes and transaction ids are SHA-256 of seeds, parents and contents. A
transaction built twice from equal arguments has one id, as on a real chain; ``label=`` distinguishes two
otherwise equal payments.
"""

from chain.testing.canonical import ScriptedBlock
from chain.testing.expected import block_model
from chain.testing.faults import Fault, Faults
from chain.testing.principals import principal, principals
from chain.testing.scripted import Branch, ScriptedChain
from chain.testing.server import ROUTES, Request, ScriptedApi
from chain.testing.tx import Tx
from chain.testing.versions import VERSIONS, Shape

__all__ = [
    "ROUTES",
    "VERSIONS",
    "Branch",
    "Fault",
    "Faults",
    "Request",
    "ScriptedApi",
    "ScriptedBlock",
    "ScriptedChain",
    "Shape",
    "Tx",
    "block_model",
    "principal",
    "principals",
]
