"""Raw transactions: what is read of them, and what is refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.api.parse_fields import Malformed
from chain.clarity import Buffer, Tuple, UInt, encode
from chain.node.transaction import RawTransaction, parse_transaction
from chain.testing import principal, txs
from chain.testing.raw import raw_transaction
from chain.testing.tx import Tx

PAYER = principal("payer")
SHOP = principal("shop")
SAFE = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4"
TOKEN = f"{SAFE}.sbtc-token"

ORIGIN = b"\x01"
STANDARD = b"\x02\x16" + bytes(20)
CONTRACT = b"\x03\x16" + bytes(20) + b"\x05token"
ASSET = b"\x16" + bytes(20) + b"\x05token" + b"\x04coin"

#: One post-condition of each kind that stacks-core 4.0 knows.
POST_CONDITIONS = {
    "stx": b"\x00" + ORIGIN + b"\x01" + bytes(8),
    "stx of an address": b"\x00" + STANDARD + b"\x01" + bytes(8),
    "fungible": b"\x01" + CONTRACT + ASSET + b"\x03" + bytes(8),
    "single": b"\x02" + ORIGIN + ASSET + encode(Tuple.of({"id": UInt(7)})) + b"\x12",
    "staking": b"\x03" + STANDARD + b"\x05" + bytes(8),
    "pox": b"\x04" + CONTRACT + b"\x31",
}


def call(**changes: object) -> bytes:
    fields: dict[str, object] = {
        "contract_id": TOKEN,
        "function": "transfer",
        "args": [encode(UInt(5)), encode(Buffer(b"INV-1"))],
    }
    return raw_transaction("contract_call", PAYER, b"", **(fields | changes))  # type: ignore[arg-type]


def at(raw: bytes, position: int, byte: int) -> bytes:
    return raw[:position] + bytes((byte,)) + raw[position + 1 :]


def test_a_transfer_has_its_recipient_amount_and_34_memo_bytes() -> None:
    """A plain STX transfer is read from its payload alone."""
    tx = txs.stx_transfer(PAYER, f"{SHOP}.till", 7, b"INV-1")
    assert parse_transaction(tx.raw) == RawTransaction(
        sender=PAYER, kind="token_transfer", transfer=(f"{SHOP}.till", 7, b"INV-1".ljust(34, b"\0"))
    )


def test_a_call_has_its_contract_function_and_arguments_by_position() -> None:
    """Arguments are cut out as consensus bytes."""
    parsed = parse_transaction(call())
    assert (parsed.sender, parsed.kind, parsed.contract_id, parsed.function) == (
        PAYER,
        "contract_call",
        TOKEN,
        "transfer",
    )
    assert parsed.args() == (encode(UInt(5)), encode(Buffer(b"INV-1")))


@pytest.mark.parametrize(
    ("tx", "kind", "contract_id"),
    [
        (txs.deploy(f"{PAYER}.shop"), "smart_contract", f"{PAYER}.shop"),
        (txs.coinbase("1"), "coinbase", None),
        (txs.tenure_change("1"), "tenure_change", None),
    ],
)
def test_other_kinds_are_named_as_the_api_names_them(tx: Tx, kind: str, contract_id: str | None) -> None:
    """A deployment names its contract; the rest of such payloads is not read."""
    parsed = parse_transaction(tx.raw)
    assert (parsed.kind, parsed.contract_id, parsed.args()) == (kind, contract_id, ())


def test_a_deployment_without_a_clarity_version_is_one_too() -> None:
    """Payload 1 is the old form of payload 6."""
    raw = raw_transaction("smart_contract", PAYER, b"", contract_id=f"{PAYER}.old")
    version = raw.index(b"\x06\x04\x03old")
    assert parse_transaction(raw[:version] + b"\x01" + raw[version + 2 :]).contract_id == f"{PAYER}.old"


@pytest.mark.parametrize(
    "sender",
    [
        PAYER,
        SAFE,
        "ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM",
        "SN3R84XZYA63QS28932XQF3G1J8R9PC3W76P9CSQS",
    ],
)
def test_the_sender_is_an_address_of_the_transactions_network_and_signature(sender: str) -> None:
    """One key or several, mainnet or testnet."""
    assert parse_transaction(raw_transaction("coinbase", sender, b"")).sender == sender


def test_a_sponsor_is_not_the_sender() -> None:
    """The sponsor only pays the fee."""
    assert parse_transaction(call(sponsor=SAFE)).sender == PAYER


def test_a_segwit_key_is_a_multi_signature_address() -> None:
    """The address of P2WPKH in P2SH is one of a script."""
    raw = raw_transaction("coinbase", PAYER, b"")
    assert parse_transaction(at(raw, 6, 0x02)).sender.startswith("SM")


def test_authorization_fields_may_be_public_keys() -> None:
    """Of a multi-signature address, those that did not sign show their keys."""
    raw = raw_transaction("coinbase", SAFE, b"")
    place = raw.index(b"\x00\x00\x00\x01\x02") + 4
    keyed = raw[:place] + b"\x00" + bytes(33) + raw[place + 66 :]
    assert parse_transaction(keyed).sender == SAFE


@pytest.mark.parametrize("name", POST_CONDITIONS)
def test_post_conditions_of_every_known_kind_are_skipped(name: str) -> None:
    """Staking and PoX conditions of epoch 4.0 included."""
    parsed = parse_transaction(call(post_conditions=[POST_CONDITIONS[name], POST_CONDITIONS["stx"]]))
    assert (parsed.kind, len(parsed.args())) == ("contract_call", 2)


def test_a_later_post_condition_leaves_the_sender_known() -> None:
    """It hides the payload; the kind says why."""
    parsed = parse_transaction(call(post_conditions=[b"\x05" + bytes(30)]))
    assert parsed == RawTransaction(sender=PAYER, kind="post-condition 5", is_known=False)


def test_a_later_payload_leaves_the_sender_known() -> None:
    """A new kind of transaction is data, not an error."""
    raw = raw_transaction("coinbase", PAYER, b"")
    assert parse_transaction(raw[:-33] + b"\x09" + raw[-32:]) == RawTransaction(
        sender=PAYER, kind="payload 9", is_known=False
    )


TRANSFER = txs.stx_transfer(PAYER, SHOP, 7).raw


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (at(TRANSFER, 5, 0x06), "authorization 0x06"),
        (at(TRANSFER, 6, 0x09), "hash mode 0x09"),
        (TRANSFER[:-1], "ends after"),
        (TRANSFER + b"\x00", "1 bytes follow"),
        (at(TRANSFER, len(TRANSFER) - 64, 0x07), "principal of type 0x07"),
        (at(TRANSFER, len(TRANSFER) - 63, 0x20), "address of version 32"),
        (call(function="tr\x00sfer"), "the name"),
        (call(post_conditions=[b"\x00\x04"]), "names a principal of type 0x04"),
        (call(post_conditions=[b"\x02" + ORIGIN + ASSET + b"\xff"]), "is no value"),
        (call()[:-40] + b"", "ends after|no Clarity value|within"),
        (b"", "ends after 0 bytes"),
    ],
)
def test_what_no_wallet_signs_is_malformed(raw: bytes, text: str) -> None:
    """Each error says what it met."""
    with pytest.raises(Malformed, match=text):
        parse_transaction(raw).args()


def test_a_list_that_no_transaction_can_hold_is_malformed() -> None:
    """Counts are judged before anything is read."""
    raw = call()
    place = raw.index(b"\x03\x02\x00\x00\x00\x00") + 2
    with pytest.raises(Malformed, match="a list of 4294967295 entries"):
        parse_transaction(raw[:place] + b"\xff" * 4 + raw[place + 4 :])


def test_an_unknown_authorization_field_is_malformed() -> None:
    """Keys and signatures are all there is."""
    raw = raw_transaction("coinbase", SAFE, b"")
    place = raw.index(b"\x00\x00\x00\x01\x02") + 4
    with pytest.raises(Malformed, match="authorization field 0x04"):
        parse_transaction(at(raw, place, 0x04))


@pytest.mark.parametrize(
    ("args", "text"), [([b"\xff"], "no Clarity value"), ([encode(UInt(1)) + b"\x03"], "1 bytes follow")]
)
def test_arguments_are_judged_only_when_they_are_wanted(args: list[bytes], text: str) -> None:
    """A call that nobody watches may have any."""
    parsed = parse_transaction(call(args=args))
    with pytest.raises(Malformed, match=text):
        parsed.args()


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_malformed(raw: bytes) -> None:
    """Nothing else is raised."""
    with contextlib.suppress(Malformed):
        parse_transaction(b"\x00\x00\x00\x00\x01\x04" + raw).args()


@given(st.integers(0, 400), st.integers(0, 255))
def test_one_wrong_byte_is_read_or_malformed(position: int, byte: int) -> None:
    """Nothing else is raised for a transaction with a flipped byte either."""
    raw = call(post_conditions=[*POST_CONDITIONS.values()])
    with contextlib.suppress(Malformed):
        parse_transaction(at(raw, position % len(raw), byte)).args()
