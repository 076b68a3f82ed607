"""The secrets of an endpoint as they are stored, plain and sealed."""

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier import secrets as secrets_module
from notifier.errors import NotPossible, Sealed
from notifier.secrets import MAX_SECRETS, PLAIN, Vault, read_keys

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
ME = "we_1"


@pytest.fixture(params=["plain", "sealed"])
def vault(request):
    return PLAIN if request.param == "plain" else Vault([KEY])


def valid(vault, stored, now):
    return vault.valid_secrets(stored, owner=ME, now=now)


def test_a_vault_without_keys_seals_nothing():
    assert (PLAIN.seals, Vault([KEY]).seals) == (False, True)
    assert PLAIN.first("whsec_a", owner=ME) == [{"secret": "whsec_a", "valid_until": None}]
    assert "whsec_a" not in str(Vault([KEY]).first("whsec_a", owner=ME))


def test_a_first_secret_is_valid_for_ever(vault):
    assert valid(vault, vault.first("whsec_a", owner=ME), 1e12) == ("whsec_a",)


def test_an_old_secret_signs_first_until_the_overlap_ends(vault):
    stored = vault.rotate(vault.first("whsec_a", owner=ME), "whsec_b", owner=ME, now=1000, overlap=60)
    assert valid(vault, stored, 1059.9) == ("whsec_a", "whsec_b")
    assert valid(vault, stored, 1060) == ("whsec_b",)


def test_an_overlap_of_zero_ends_all_others_at_once(vault):
    stored = vault.rotate(vault.first("whsec_a", owner=ME), "whsec_b", owner=ME, now=1000, overlap=3600)
    stored = vault.rotate(stored, "whsec_c", owner=ME, now=1001, overlap=0)
    assert valid(vault, stored, 1001) == ("whsec_c",)


def test_a_second_rotation_does_not_lengthen_the_first_overlap(vault):
    stored = vault.rotate(vault.first("whsec_a", owner=ME), "whsec_b", owner=ME, now=1000, overlap=60)
    stored = vault.rotate(stored, "whsec_c", owner=ME, now=1010, overlap=600)
    assert valid(vault, stored, 1059) == ("whsec_a", "whsec_b", "whsec_c")
    assert valid(vault, stored, 1060) == ("whsec_b", "whsec_c")


def test_ended_secrets_are_forgotten_at_the_next_rotation(vault):
    stored = vault.rotate(vault.first("whsec_a", owner=ME), "whsec_b", owner=ME, now=1000, overlap=60)
    stored = vault.rotate(stored, "whsec_c", owner=ME, now=2000, overlap=60)
    assert [vault.unseal(entry["secret"], owner=ME) for entry in stored] == ["whsec_b", "whsec_c"]


def test_too_many_valid_secrets_are_refused_with_a_way_out(vault):
    stored = vault.first("whsec_0", owner=ME)
    for number in range(1, MAX_SECRETS):
        stored = vault.rotate(stored, f"whsec_{number}", owner=ME, now=1000, overlap=60)
    with pytest.raises(NotPossible, match="rotate with overlap 0"):
        vault.rotate(stored, "whsec_x", owner=ME, now=1000, overlap=60)
    stored = vault.rotate(stored, "whsec_x", owner=ME, now=1000, overlap=0)
    assert valid(vault, stored, 1000) == ("whsec_x",)


@given(st.binary(min_size=32, max_size=32), st.text(), st.text(min_size=1))
def test_what_is_sealed_opens_again_and_shows_nothing(key, secret, owner):
    vault = Vault([key])
    stored = vault.seal(secret, owner=owner)
    assert Vault([key]).unseal(stored, owner=owner) == secret
    if len(secret) > 3:
        assert secret not in stored


def test_the_same_secret_is_sealed_differently_each_time():
    assert len({Vault([KEY]).seal("whsec_a", owner=ME) for _ in range(20)}) == 20


def test_a_secret_sealed_with_another_key_does_not_open_and_the_message_names_what_is_missing():
    stored = Vault([KEY]).seal("whsec_a", owner=ME)
    for vault in (PLAIN, Vault([OTHER])):
        with pytest.raises(Sealed, match=r"we_1 does not open: it needs the key [0-9a-f]{8}.*overlap 0"):
            vault.unseal(stored, owner=ME)


def test_a_sealed_secret_belongs_to_its_endpoint():
    """Whoever can write to the database cannot make one endpoint's webhooks be signed with another's secret."""
    vault = Vault([KEY])
    stored = vault.seal("whsec_a", owner=ME)
    assert vault.unseal(stored, owner=ME) == "whsec_a"
    with pytest.raises(Sealed, match=r"we_2 .*belongs to another endpoint"):
        vault.unseal(stored, owner="we_2")


@pytest.mark.parametrize("damage", ["", "x", "AAAA", "*"])
def test_a_damaged_secret_does_not_open(damage):
    vault = Vault([KEY])
    head, _, _ = vault.seal("whsec_a", owner=ME).rpartition(":")
    with pytest.raises(Sealed, match="damaged"):
        vault.unseal(f"{head}:{damage}", owner=ME)


def test_a_changed_byte_does_not_open():
    vault = Vault([KEY])
    head, _, text = vault.seal("whsec_a", owner=ME).rpartition(":")
    raw = bytearray(base64.b64decode(text))
    for index in range(len(raw)):
        raw[index] ^= 1
        with pytest.raises(Sealed):
            vault.unseal(f"{head}:{base64.b64encode(raw).decode()}", owner=ME)
        raw[index] ^= 1


def test_plain_secrets_stay_readable_and_are_sealed_at_the_next_rotation():
    vault = Vault([KEY])
    plain = PLAIN.first("whsec_a", owner=ME)
    assert valid(vault, plain, 0) == ("whsec_a",)
    stored = vault.rotate(plain, "whsec_b", owner=ME, now=1000, overlap=60)
    assert "whsec_" not in str(stored)
    assert valid(vault, stored, 1000) == ("whsec_a", "whsec_b")


def test_an_older_key_opens_what_it_sealed_and_the_first_one_seals():
    old = Vault([OTHER]).first("whsec_a", owner=ME)
    both = Vault([KEY, OTHER])
    assert valid(both, old, 0) == ("whsec_a",)
    stored = both.rotate(old, "whsec_b", owner=ME, now=1000, overlap=60)
    assert valid(Vault([KEY]), stored, 1000) == ("whsec_a", "whsec_b"), "the older key is needed no more"


def test_a_rotation_without_overlap_is_the_way_out_when_the_key_is_lost():
    lost = Vault([OTHER]).first("whsec_a", owner=ME)
    vault = Vault([KEY])
    with pytest.raises(Sealed):
        vault.rotate(lost, "whsec_b", owner=ME, now=0, overlap=60)
    assert valid(vault, vault.rotate(lost, "whsec_b", owner=ME, now=0, overlap=0), 0) == ("whsec_b",)


def test_what_was_opened_is_remembered_within_bounds(monkeypatch):
    monkeypatch.setattr(secrets_module, "_MAX_OPENED", 2)
    vault = Vault([KEY])
    stored = [vault.seal(f"whsec_{number}", owner=ME) for number in range(5)]
    for _ in range(2):
        assert [vault.unseal(one, owner=ME) for one in stored] == [f"whsec_{number}" for number in range(5)]
    assert len(vault._opened) <= 2


def test_a_key_file_holds_hex_or_base64_one_key_per_line():
    text = f"# made 2026-01-01\n\n{KEY.hex()}\n  {base64.b64encode(OTHER).decode()}  \n"
    assert read_keys(text) == [KEY, OTHER]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no key"),
        ("# only this\n", "holds no key"),
        ("secret", "line 1 is no key"),
        (f"{KEY.hex()}\n{KEY.hex()[:-2]}", "line 2 is no key"),
        ("z" * 64, "line 1 is no key"),
        ("ключ", "line 1 is no key"),
    ],
)
def test_a_text_that_is_no_key_is_refused_and_not_quoted(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_keys(text)
    assert "openssl rand -hex 32" in str(caught.value)
    assert not text.strip("# \n") or text.strip() not in str(caught.value)


def test_a_key_of_another_length_makes_no_vault():
    with pytest.raises(ValueError, match="32 bytes, not 16"):
        Vault([os.urandom(16)])
