"""The c32check codec against the vectors of two other implementations, and its strictness."""

import json
from pathlib import Path

import pytest

from chain import address
from chain.address import AddressError, Principal, parse_principal

VECTORS = json.loads((Path(__file__).parents[2] / "data/vectors/c32-addresses.json").read_text())
IN_USE = address.MAINNET_VERSIONS | address.TESTNET_VERSIONS
MAINNET = "SP2J6ZY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7"
TESTNET = "ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM"


@pytest.mark.parametrize("vector", VECTORS["encodings"], ids=lambda vector: vector["hex"])
def test_raw_c32_agrees_with_c32check(vector):
    assert address.c32_encode(bytes.fromhex(vector["hex"])) == vector["c32"]
    assert address.c32_decode(vector["c32"]).hex() == vector["hex"]


@pytest.mark.parametrize("vector", VECTORS["valid"] + VECTORS["known"], ids=lambda vector: vector["address"])
def test_every_valid_address_is_read_and_written_as_others_do(vector):
    hash160 = bytes.fromhex(vector["hash160"])
    assert address.c32check_encode(vector["version"], hash160) == vector["address"]
    assert address.c32check_decode(vector["address"]) == (vector["version"], hash160)
    if vector["version"] in IN_USE:
        assert parse_principal(vector["address"]) == Principal(vector["version"], hash160)
    else:
        with pytest.raises(AddressError, match="not in use"):
            parse_principal(vector["address"])


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["name"])
def test_every_invalid_address_is_refused(vector):
    with pytest.raises(AddressError):
        address.c32check_decode(vector["address"])
    if vector["name"] != "contract-id":
        with pytest.raises(AddressError):
            parse_principal(vector["address"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("S", "starts with S and a version"),
        ("1FzTxL9Mxnm2fdmnQEArfhzJHevwbvcH6d", "not a Stacks address"),
        (MAINNET[:-1] + "8", "bad checksum"),
        (MAINNET[:-3], "too short or too long"),
        (MAINNET * 2, "at most 41"),
        (MAINNET[:2] + MAINNET[2:].lower(), "upper case only"),
        ("SP2J6UY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7", "'U' is not in the c32 alphabet"),
        ("S0000000000000000000002AA028H", "expected SP, SM, ST or SN"),
        (MAINNET + ".", "contract name '' is not valid"),
        (MAINNET + ".1a", "contract name"),
        (MAINNET + ".a.b", "contract name"),
        (MAINNET + ".naïve", "contract name"),
        (MAINNET + ".a\n", "contract name"),
        (MAINNET + "." + "a" * 41, "at most 40"),
    ],
)
def test_a_refusal_says_what_is_wrong(text, says):
    with pytest.raises(AddressError) as raised:
        parse_principal(text)
    assert says in str(raised.value)


@pytest.mark.parametrize("name", ["a", "sbtc-token", "pay_v2-1", "A" * 40])
def test_a_contract_is_its_deployers_address_and_a_name(name):
    principal = parse_principal(f"{MAINNET}.{name}")
    assert principal.name == name
    assert str(principal) == f"{MAINNET}.{name}"
    assert parse_principal(MAINNET) == Principal(principal.version, principal.hash160)


def test_a_principal_of_the_other_network_is_refused():
    assert parse_principal(MAINNET, mainnet=True).is_mainnet
    assert not parse_principal(TESTNET, mainnet=False).is_mainnet
    with pytest.raises(AddressError, match=r"belongs to testnet: expected a principal of mainnet \(SP"):
        parse_principal(TESTNET, mainnet=True)
    with pytest.raises(AddressError, match=r"belongs to mainnet: expected a principal of testnet \(ST"):
        parse_principal(MAINNET, mainnet=False)


@pytest.mark.parametrize(("version", "hash160"), [(-1, b"\0" * 20), (32, b"\0" * 20), (22, b"\0" * 19)])
def test_what_is_no_address_cannot_be_written_as_one(version, hash160):
    with pytest.raises(AddressError):
        address.c32check_encode(version, hash160)
