"""What a SIP-010 token contract says of itself, by read-only calls through a source's node."""

from dataclasses import dataclass

from chain.api.transport import Fetcher
from chain.clarity import ClarityError, Ok, StringAscii, StringUtf8, UInt, Value, decode
from chain.errors import SourceMalformed

#: Largest accepted result of a read-only call, in bytes: far above every symbol.
MAX_RESULT_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """Symbol and decimals of a token."""

    symbol: str
    decimals: int


async def read_token_facts(fetcher: Fetcher, contract: str) -> TokenFacts | None:
    """Return what a token contract says of itself; None when it has no such functions.

    Raises ``SourceError`` when the source has no node to ask.
    """
    symbol = await _call(fetcher, contract, "get-symbol")
    decimals = await _call(fetcher, contract, "get-decimals")
    if not isinstance(symbol, StringAscii | StringUtf8) or not isinstance(decimals, UInt):
        return None
    return TokenFacts(symbol.value, decimals.value)


async def _call(fetcher: Fetcher, contract: str, function: str) -> Value | None:
    """Call a function without arguments; return the value of its ``ok`` response, else None."""
    address, _, name = contract.partition(".")
    path = f"/v2/contracts/call-read/{address}/{name}/{function}"
    answer = await fetcher.post(path, {"sender": address, "arguments": []})
    body = fetcher.json(answer) if answer.status == 200 else None
    if not isinstance(body, dict) or body.get("okay") is not True:
        return None
    result = body.get("result")
    if not isinstance(result, str) or len(result) > 2 * MAX_RESULT_BYTES:
        raise SourceMalformed(f"{function} of {contract} returned no value", url=fetcher.url)
    try:
        value = decode(bytes.fromhex(result.removeprefix("0x")))
    except (ClarityError, ValueError) as error:
        text = f"{function} of {contract} returned no Clarity value"
        raise SourceMalformed(text, url=fetcher.url) from error
    return value.value if isinstance(value, Ok) else None
