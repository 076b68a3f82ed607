"""The secrets of an endpoint as they are stored."""

import pytest

from notifier import vault
from notifier.errors import NotPossible


def test_a_first_secret_is_valid_for_ever():
    assert vault.valid_secrets(vault.first("whsec_a"), now=1e12) == ("whsec_a",)


def test_an_old_secret_signs_first_until_the_overlap_ends():
    stored = vault.rotate(vault.first("whsec_a"), "whsec_b", now=1000, overlap=60)
    assert vault.valid_secrets(stored, now=1059.9) == ("whsec_a", "whsec_b")
    assert vault.valid_secrets(stored, now=1060) == ("whsec_b",)


def test_an_overlap_of_zero_ends_all_others_at_once():
    stored = vault.rotate(vault.first("whsec_a"), "whsec_b", now=1000, overlap=3600)
    stored = vault.rotate(stored, "whsec_c", now=1001, overlap=0)
    assert vault.valid_secrets(stored, now=1001) == ("whsec_c",)


def test_a_second_rotation_does_not_lengthen_the_first_overlap():
    stored = vault.rotate(vault.first("whsec_a"), "whsec_b", now=1000, overlap=60)
    stored = vault.rotate(stored, "whsec_c", now=1010, overlap=600)
    assert vault.valid_secrets(stored, now=1059) == ("whsec_a", "whsec_b", "whsec_c")
    assert vault.valid_secrets(stored, now=1060) == ("whsec_b", "whsec_c")


def test_ended_secrets_are_forgotten_at_the_next_rotation():
    stored = vault.rotate(vault.first("whsec_a"), "whsec_b", now=1000, overlap=60)
    stored = vault.rotate(stored, "whsec_c", now=2000, overlap=60)
    assert [entry["secret"] for entry in stored] == ["whsec_b", "whsec_c"]


def test_too_many_valid_secrets_are_refused_with_a_way_out():
    stored = vault.first("whsec_0")
    for number in range(1, vault.MAX_SECRETS):
        stored = vault.rotate(stored, f"whsec_{number}", now=1000, overlap=60)
    with pytest.raises(NotPossible, match="rotate with overlap 0"):
        vault.rotate(stored, "whsec_x", now=1000, overlap=60)
    assert vault.valid_secrets(vault.rotate(stored, "whsec_x", now=1000, overlap=0), now=1000) == ("whsec_x",)


def test_what_is_sealed_opens_again():
    assert vault.unseal(vault.seal("whsec_a")) == "whsec_a"
