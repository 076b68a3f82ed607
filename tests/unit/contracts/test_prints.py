"""Readers of prints: the size limit, and the longest print of our contract."""

import pytest

from chain.address import Principal
from chain.clarity import Buffer, PrincipalValue, Some, Tuple, UInt, encode
from chain.model import MAX_AMOUNT, MAX_VALUE_BYTES
from contracts.prints import read_memo_print, read_payment_print, read_value
from tests.unit.contracts.simnet import payment_fields


@pytest.mark.parametrize(("size", "read"), [(MAX_VALUE_BYTES, True), (MAX_VALUE_BYTES + 1, False)])
def test_a_value_larger_than_any_of_ours_is_not_decoded(size, read):
    value = Buffer(bytes(size - 5))
    assert read_value(encode(value)) == (value if read else None)


def test_bytes_that_are_no_value_are_none():
    assert read_value(b"") is None
    assert read_memo_print(b"\xff") is None


def test_our_longest_possible_print_is_read():
    longest = PrincipalValue(Principal(22, b"\xff" * 20, "a" * 128))
    fields = payment_fields(
        merchant=longest,
        payer=longest,
        token=Some(longest),
        amount=UInt(MAX_AMOUNT),
        stacks_time=UInt(MAX_AMOUNT),
    )
    payment = read_payment_print(encode(Tuple.of(fields)))
    assert payment is not None
    assert payment.merchant == payment.payer == payment.token == str(longest.value)
    assert payment.amount == MAX_AMOUNT
