"""Stored secrets of an endpoint, plain and encrypted."""

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier import secrets as secrets_module
from notifier.errors import DecryptionFailed, NotPossible
from notifier.secrets import MAX_SECRETS, PLAIN, SecretStore, read_keys

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
ME = "we_1"


@pytest.fixture(params=["plain", "sealed"])
def secret_store(request):
    return PLAIN if request.param == "plain" else SecretStore([KEY])


def valid(secret_store, stored, now):
    return secret_store.valid_secrets(stored, owner=ME, now=now)


def test_a_vault_without_keys_seals_nothing():
    assert (PLAIN.encrypts, SecretStore([KEY]).encrypts) == (False, True)
    assert PLAIN.first("whsec_a", owner=ME) == [{"secret": "whsec_a", "valid_until": None}]
    assert "whsec_a" not in str(SecretStore([KEY]).first("whsec_a", owner=ME))


def test_a_first_secret_is_valid_for_ever(secret_store):
    assert valid(secret_store, secret_store.first("whsec_a", owner=ME), 1e12) == ("whsec_a",)


def test_an_old_secret_signs_first_until_the_overlap_ends(secret_store):
    stored = secret_store.rotate(
        secret_store.first("whsec_a", owner=ME), "whsec_b", owner=ME, now=1000, overlap=60
    )
    assert valid(secret_store, stored, 1059.9) == ("whsec_a", "whsec_b")
    assert valid(secret_store, stored, 1060) == ("whsec_b",)


def test_an_overlap_of_zero_ends_all_others_at_once(secret_store):
    stored = secret_store.rotate(
        secret_store.first("whsec_a", owner=ME), "whsec_b", owner=ME, now=1000, overlap=3600
    )
    stored = secret_store.rotate(stored, "whsec_c", owner=ME, now=1001, overlap=0)
    assert valid(secret_store, stored, 1001) == ("whsec_c",)


def test_a_second_rotation_does_not_lengthen_the_first_overlap(secret_store):
    stored = secret_store.rotate(
        secret_store.first("whsec_a", owner=ME), "whsec_b", owner=ME, now=1000, overlap=60
    )
    stored = secret_store.rotate(stored, "whsec_c", owner=ME, now=1010, overlap=600)
    assert valid(secret_store, stored, 1059) == ("whsec_a", "whsec_b", "whsec_c")
    assert valid(secret_store, stored, 1060) == ("whsec_b", "whsec_c")


def test_ended_secrets_are_forgotten_at_the_next_rotation(secret_store):
    stored = secret_store.rotate(
        secret_store.first("whsec_a", owner=ME), "whsec_b", owner=ME, now=1000, overlap=60
    )
    stored = secret_store.rotate(stored, "whsec_c", owner=ME, now=2000, overlap=60)
    assert [secret_store.decrypt(entry["secret"], owner=ME) for entry in stored] == ["whsec_b", "whsec_c"]


def test_too_many_valid_secrets_are_refused_with_a_way_out(secret_store):
    stored = secret_store.first("whsec_0", owner=ME)
    for number in range(1, MAX_SECRETS):
        stored = secret_store.rotate(stored, f"whsec_{number}", owner=ME, now=1000, overlap=60)
    with pytest.raises(NotPossible, match="rotate with overlap 0"):
        secret_store.rotate(stored, "whsec_x", owner=ME, now=1000, overlap=60)
    stored = secret_store.rotate(stored, "whsec_x", owner=ME, now=1000, overlap=0)
    assert valid(secret_store, stored, 1000) == ("whsec_x",)


@given(st.binary(min_size=32, max_size=32), st.text(), st.text(min_size=1))
def test_what_is_sealed_opens_again_and_shows_nothing(key, secret, owner):
    secret_store = SecretStore([key])
    stored = secret_store.encrypt(secret, owner=owner)
    assert SecretStore([key]).decrypt(stored, owner=owner) == secret
    if len(secret) > 3:
        assert secret not in stored


def test_the_same_secret_is_sealed_differently_each_time():
    assert len({SecretStore([KEY]).encrypt("whsec_a", owner=ME) for _ in range(20)}) == 20


def test_a_secret_sealed_with_another_key_does_not_open_and_the_message_names_what_is_missing():
    stored = SecretStore([KEY]).encrypt("whsec_a", owner=ME)
    for secret_store in (PLAIN, SecretStore([OTHER])):
        with pytest.raises(
            DecryptionFailed, match=r"we_1 cannot be decrypted: it needs the key [0-9a-f]{8}.*overlap 0"
        ):
            secret_store.decrypt(stored, owner=ME)


def test_a_sealed_secret_belongs_to_its_endpoint():
    """Write access to the database is not enough to sign one endpoint's webhooks with another's secret."""
    secret_store = SecretStore([KEY])
    stored = secret_store.encrypt("whsec_a", owner=ME)
    assert secret_store.decrypt(stored, owner=ME) == "whsec_a"
    with pytest.raises(DecryptionFailed, match=r"we_2 .*belongs to another endpoint"):
        secret_store.decrypt(stored, owner="we_2")


@pytest.mark.parametrize("damage", ["", "x", "AAAA", "*"])
def test_a_damaged_secret_does_not_open(damage):
    secret_store = SecretStore([KEY])
    head, _, _ = secret_store.encrypt("whsec_a", owner=ME).rpartition(":")
    with pytest.raises(DecryptionFailed, match="damaged"):
        secret_store.decrypt(f"{head}:{damage}", owner=ME)


def test_a_changed_byte_does_not_open():
    secret_store = SecretStore([KEY])
    head, _, text = secret_store.encrypt("whsec_a", owner=ME).rpartition(":")
    raw = bytearray(base64.b64decode(text))
    for index in range(len(raw)):
        raw[index] ^= 1
        with pytest.raises(DecryptionFailed):
            secret_store.decrypt(f"{head}:{base64.b64encode(raw).decode()}", owner=ME)
        raw[index] ^= 1


def test_plain_secrets_stay_readable_and_are_sealed_at_the_next_rotation():
    secret_store = SecretStore([KEY])
    plain = PLAIN.first("whsec_a", owner=ME)
    assert valid(secret_store, plain, 0) == ("whsec_a",)
    stored = secret_store.rotate(plain, "whsec_b", owner=ME, now=1000, overlap=60)
    assert "whsec_" not in str(stored)
    assert valid(secret_store, stored, 1000) == ("whsec_a", "whsec_b")


def test_an_older_key_opens_what_it_sealed_and_the_first_one_seals():
    old = SecretStore([OTHER]).first("whsec_a", owner=ME)
    both = SecretStore([KEY, OTHER])
    assert valid(both, old, 0) == ("whsec_a",)
    stored = both.rotate(old, "whsec_b", owner=ME, now=1000, overlap=60)
    assert valid(SecretStore([KEY]), stored, 1000) == ("whsec_a", "whsec_b"), (
        "the older key is needed no more"
    )


def test_a_rotation_without_overlap_is_the_way_out_when_the_key_is_lost():
    lost = SecretStore([OTHER]).first("whsec_a", owner=ME)
    secret_store = SecretStore([KEY])
    with pytest.raises(DecryptionFailed):
        secret_store.rotate(lost, "whsec_b", owner=ME, now=0, overlap=60)
    assert valid(secret_store, secret_store.rotate(lost, "whsec_b", owner=ME, now=0, overlap=0), 0) == (
        "whsec_b",
    )


def test_what_was_opened_is_remembered_within_bounds(monkeypatch):
    monkeypatch.setattr(secrets_module, "_MAX_DECRYPTED", 2)
    secret_store = SecretStore([KEY])
    stored = [secret_store.encrypt(f"whsec_{number}", owner=ME) for number in range(5)]
    for _ in range(2):
        assert [secret_store.decrypt(one, owner=ME) for one in stored] == [
            f"whsec_{number}" for number in range(5)
        ]
    assert len(secret_store._decrypted) <= 2


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
        SecretStore([os.urandom(16)])
