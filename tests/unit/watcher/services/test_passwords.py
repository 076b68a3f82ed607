"""Passwords of payment links, and the tokens of those who knew one."""

import pytest

from watcher.services import passwords
from watcher.services.passwords import hash_password, is_password, is_unlocked, unlock_token

STORED = hash_password("Ångström", entropy=bytes)


def test_a_hash_says_how_it_was_made() -> None:
    """So that a later version can ask for more of new ones, and still read the old ones."""
    kind, log2_n, r, p, salt, digest = STORED.split("$")
    assert (kind, log2_n, r, p, salt) == ("scrypt", "14", "8", "5", "AAAAAAAAAAAAAAAAAAAAAA==")
    assert len(digest) == 44
    cheap = "scrypt$4$1$1$AAAAAAAAAAAAAAAAAAAAAA==$"
    made = passwords._scrypt("x", bytes(16), 4, 1, 1)
    assert is_password("x", cheap + passwords.b64encode(made).decode())
    assert not is_password("y", cheap + passwords.b64encode(made).decode())


@pytest.mark.parametrize("typed", ["Ångström", "A\u030angstro\u0308m", "\u212bngstro\u0308m"])
def test_keyboards_that_write_a_character_differently_write_the_same_password(typed: str) -> None:
    """Composed, decomposed, or as a look-alike that Unicode calls the same."""
    assert is_password(typed, STORED)


@pytest.mark.parametrize("typed", ["", "ångström", "Ångström ", "x" * 1000, "\ud800"])
def test_another_password_is_wrong(typed: str) -> None:
    """Whatever it holds."""
    assert not is_password(typed, STORED)


def test_a_token_is_good_for_its_link_and_password_and_time_only() -> None:
    """The last second included; what is no token is none."""
    token = unlock_token("pl_1", STORED, now=1000.5)
    assert is_unlocked(token, "pl_1", STORED, now=1000 + passwords.UNLOCKED_SECONDS - 0.1)
    assert not is_unlocked(token, "pl_1", STORED, now=1000 + passwords.UNLOCKED_SECONDS)
    assert not is_unlocked(token, "pl_2", STORED, now=1000)
    assert not is_unlocked(token, "pl_1", STORED + "x", now=1000)
    later = f"9{token}"
    for forged in ("", ".", later, token[:-1], token + "0", "99999999999999." + "0" * 64):
        assert not is_unlocked(forged, "pl_1", STORED, now=1000)
