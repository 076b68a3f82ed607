"""What payers do with payment links: start, send the form again, choose another asset, start anew."""

import threading
from typing import Any

import pytest

from chain.testing import principal, txs
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from tests.integration.watcher.link_fixture import Links
from watcher.errors import NotFound, Refused
from watcher.schemas import ChangeMerchant, ChangePaymentLink
from watcher.schemas.payment_links import LinkPage
from watcher.services import link_payments, passwords, wallet_call
from watcher.store import day_counts, link_views
from watcher.store import intents as intent_store

TWO = {"sbtc": "50000", "stx": "25000000"}
OTHER_VISIT = "w" * 22


# Starting


def test_a_started_payment_has_what_the_link_says(fixture: LedgerFixture) -> None:
    """Price, description, metadata and pages go into the intent, which names its link."""
    more = {"success_url": "https://shop.example/t", "cancel_url": "https://shop.example/c"}
    links = Links(fixture, amount="7000", description="Coffee", metadata={"sku": "c1"}, **more)
    token = links.start()
    intent = fixture.show(links.intent(token))
    assert (intent["amount"], intent["asset"], intent["status"]) == ("7000", "sbtc", "pending")
    assert (intent["description"], intent["metadata"], intent["payment_link"]) == (
        "Coffee",
        {"sku": "c1"},
        links.id,
    )
    assert {name: intent[name] for name in more} == more
    assert links.checkout(token)["payment_link"] == {
        "url": f"/l/{links.code}",
        "can_restart": False,
        "continued_url": None,
    }
    links.pay(token)
    assert links.checkout(token)["state"] == "paid"


def test_looking_starts_nothing(fixture: LedgerFixture) -> None:
    """The page says what can be paid, and nothing private."""
    links = Links(fixture, prices=TWO, description="Tea", metadata={"secret": "m"})
    with links.payer() as payer:
        for code in (links.code, links.code.lower(), f"{links.code[:4]}-{links.code[4:]}"):
            document, origins, link = payer.link_page(code)
            assert (document["code"], origins, link) == (links.code, [], links.id)
        with pytest.raises(NotFound):
            payer.link_page("K7Q2M8ZR4T9C")
        with pytest.raises(NotFound):
            payer.link_page("../" * 100)
    assert LinkPage.model_validate(document).model_dump(mode="json") == document
    assert [(price["asset"], price["amount"], price["decimals"]) for price in document["prices"]] == [
        ("sbtc", "50000", 8),
        ("stx", "25000000", 6),
    ]
    assert "secret" not in str(document)
    assert fixture.merchant not in str(document)
    assert links.document()["uses"] == 0


def test_the_same_form_leads_to_the_same_payment(fixture: LedgerFixture) -> None:
    """A double click and a reload find it again, also when it is paid; another form makes another one."""
    links = Links(fixture, amount="7000")
    first = links.start()
    assert links.start() == first
    other = links.start(OTHER_VISIT)
    assert other != first
    assert links.start(None) not in (first, other)
    links.pay(first)
    assert links.start() == first
    assert links.statistics()["started"] == 3


def test_the_same_form_of_another_link_leads_elsewhere(fixture: LedgerFixture) -> None:
    """A token counts for its own link: nobody is led to the payment of another one."""
    one, two = Links(fixture, amount="7000"), Links(fixture, amount="8000")
    assert one.start() != two.start()
    assert two.document()["uses"] == 1


def test_a_form_that_says_something_else_takes_the_place_of_what_it_started(fixture: LedgerFixture) -> None:
    """The payer went back and chose again; once they have paid, the form leads to what they paid."""
    links = Links(fixture, min_amount="5", max_amount="9")
    first = links.start(amount="5")
    second = links.start(amount="6")
    assert fixture.status(links.intent(first)) == "canceled"
    assert links.checkout(second)["amount"] == "6"
    assert links.checkout(first)["payment_link"]["continued_url"] == f"/pay/{second}"
    links.pay(second, 2)
    assert links.start(amount="7") == second
    assert links.document()["uses"] == 1


def test_a_form_starts_anew_when_what_it_started_has_expired(fixture: LedgerFixture) -> None:
    """It is the payer's own page, kept open for long."""
    links = Links(fixture, amount="7000")
    first = links.start()
    links.expire()
    second = links.start()
    assert second != first
    assert links.start() == second


@pytest.mark.parametrize(
    ("link", "said", "code"),
    [
        ({"prices": TWO}, {}, "asset_missing"),
        ({"prices": TWO}, {"asset": "usdcx"}, "asset_missing"),
        ({"amount": "7000"}, {"asset": "stx"}, "asset_missing"),
        ({}, {}, "amount_missing"),
        ({"min_amount": "5"}, {"amount": "4"}, "amount_out_of_range"),
        ({"max_amount": "9"}, {"amount": "10"}, "amount_out_of_range"),
        ({"amount": "7000", "password": "x"}, {}, "wrong_password"),
        ({"amount": "7000", "password": "x"}, {"unlock": f"9999999999.{'0' * 64}"}, "wrong_password"),
        ({"amount": "7000", "password": "x"}, {"unlock": "ü"}, "wrong_password"),
    ],
)
def test_what_does_not_fit_the_link_is_refused(
    fixture: LedgerFixture, link: dict[str, Any], said: dict[str, Any], code: str
) -> None:
    """Nothing is made, and the code says what to ask for."""
    links = Links(fixture, **link)
    assert links.refused(**said) == code
    assert links.statistics()["started"] == 0


def test_a_payer_cannot_choose_another_price(fixture: LedgerFixture) -> None:
    """The amount of a form counts only where the link leaves it open."""
    links = Links(fixture, prices=TWO)
    assert links.checkout(links.start(asset="sbtc", amount="1"))["amount"] == "50000"


def test_a_small_amount_is_not_lost_in_the_merchants_tolerance(fixture: LedgerFixture) -> None:
    """A tolerance that is not below the amount would let nothing count as paid: it is 0 then."""
    fixture.merchant = fixture.add_merchant("Tolerant", SHOP, tolerance="100")
    links = Links(fixture)
    assert fixture.show(links.intent(links.start(amount="100")))["tolerance"] == "0"
    assert fixture.show(links.intent(links.start(OTHER_VISIT, amount="101")))["tolerance"] == "100"


def test_a_link_that_is_over_starts_nothing(fixture: LedgerFixture) -> None:
    """Disabled, expired by the chain's clock, its merchant disabled: each says why."""
    links = Links(fixture, amount="7000", expires_at=fixture.tip.time + 3600)
    token = links.start()
    links.change(active=False)
    assert links.refused() == "link_disabled"
    assert links.start() == token, "what was started goes on"
    links.change(active=True)
    fixture.clock.now += 10_000
    links.start(OTHER_VISIT)
    fixture.pass_time(3700)
    assert links.refused() == "link_expired"
    links.change(expires_at=None)
    with fixture.services() as services:
        services.change_merchant(fixture.merchant, ChangeMerchant(status="disabled"))
    assert links.refused() == "link_disabled"
    with links.payer() as payer:
        assert payer.link_page(links.code)[0]["status"] == "disabled"


def test_a_recipient_that_became_anothers_is_told_as_not_payable(fixture: LedgerFixture) -> None:
    """The payer learns nothing of why; the log does."""
    links = Links(fixture, amount="7000", recipient=principal("own"))
    fixture.create(match="recipient", recipient=principal("own"))
    assert links.refused() == "not_payable"


# Uses


def test_uses_are_open_and_paid_payments(fixture: LedgerFixture) -> None:
    """What expires leaves its place to another; what is paid does not."""
    links = Links(fixture, amount="7000", max_uses=1)
    links.start()
    assert (links.document()["uses"], links.document()["status"]) == (1, "used_up")
    assert links.refused() == "link_used_up"
    links.expire()
    assert (links.document()["uses"], links.document()["status"]) == (0, "active")
    links.pay(links.start())
    fixture.pass_time(20_000)
    assert links.refused() == "link_used_up"


def test_two_starts_at_once_do_not_share_the_last_use(fixture: LedgerFixture) -> None:
    """Both wait for the same row: one gets it, the other is told that the link is used up."""
    links = Links(fixture, amount="7000", max_uses=1)
    begin = threading.Barrier(4)
    results: list[str] = []

    def run(number: int) -> None:
        begin.wait(10)
        try:
            links.start(f"{number:022d}")
            results.append("started")
        except Refused as refused:
            results.append(refused.code)

    threads = [threading.Thread(target=run, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == ["link_used_up"] * 3 + ["started"]
    assert links.statistics()["started"] == 1


def test_one_form_sent_twice_at_once_makes_one_payment(fixture: LedgerFixture) -> None:
    """A double click, before the first answer is there."""
    links = Links(fixture, amount="7000")
    begin = threading.Barrier(4)
    tokens: list[str] = []

    def run() -> None:
        begin.wait(10)
        tokens.append(links.start())

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(tokens), len(set(tokens))) == (4, 1)
    assert links.statistics()["started"] == 1


def test_nobody_fills_the_database(fixture: LedgerFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link has so many open payments at most; those that end make room."""
    monkeypatch.setattr(link_payments, "MAX_OPEN", 3)
    links = Links(fixture, amount="7000")
    tokens = [links.start(None) for _ in range(3)]
    assert links.refused() == "too_many_open"
    links.pay(tokens[0])
    links.start(None)
    assert links.refused() == "too_many_open"


# Another asset


def test_the_payer_changes_their_mind_as_long_as_nothing_was_paid(fixture: LedgerFixture) -> None:
    """The first intent is canceled by the payer, and its checkout leads on; the other is offered."""
    links = Links(fixture, prices=TWO, max_uses=1)
    first = links.start(asset="sbtc")
    assert [(one["asset"], one["amount"]) for one in links.checkout(first)["alternatives"]] == [
        ("stx", "25000000")
    ]
    second = links.switch(first, "stx")
    assert links.switch(first, "stx") == second, "sent twice"
    assert links.switch(second, "stx") == second
    old, new = links.checkout(first), links.checkout(second)
    assert (old["state"], old["alternatives"]) == ("canceled", [])
    assert old["payment_link"]["continued_url"] == f"/pay/{second}"
    assert (new["state"], new["asset"], new["amount"]) == ("waiting", "stx", "25000000")
    assert [one["asset"] for one in new["alternatives"]] == ["sbtc"]
    assert "by payer: 25000000 of stx instead" in str(fixture.show(links.intent(first))["timeline"])
    third = links.switch(second, "sbtc")
    assert third not in (first, second)
    assert links.start(asset="sbtc") == third, "the form leads on, too"
    assert links.document()["uses"] == 1


def test_once_something_came_the_asset_stays(fixture: LedgerFixture) -> None:
    """Partly paid, paid, or seen in the mempool: no other asset is offered, and none can be had."""
    links = Links(fixture, prices=TWO)
    part, paid, seen = (links.start(f"{number:022d}", asset="sbtc") for number in range(3))
    links.pay(part, 5)
    links.pay(paid)
    with fixture.database.begin() as connection:
        connection.execute(
            intent_store.intent.update()
            .where(intent_store.intent.c.id == links.intent(seen))
            .values(in_flight=True)
        )
    for token, state in ((part, "underpaid"), (paid, "paid"), (seen, "seen")):
        assert (links.checkout(token)["state"], links.checkout(token)["alternatives"]) == (state, [])
        with pytest.raises(Refused, match="paid or seen"):
            links.switch(token, "stx")
    assert {fixture.status(links.intent(token)) for token in (part, paid, seen)} == {"pending", "succeeded"}


def test_money_for_the_asset_that_was_left_is_late_and_not_lost(fixture: LedgerFixture) -> None:
    """The payer switches, then pays the first one after all: the merchant is told, and owes it back."""
    links = Links(fixture, prices=TWO)
    first = links.start(asset="sbtc")
    second = links.switch(first, "stx")
    links.pay(first)
    intent = fixture.show(links.intent(first))
    assert (intent["status"], intent["amount_received"]) == ("canceled", "50000")
    assert set(intent["flags"]) == {"late", "refund_due"}
    assert fixture.sent_events(links.intent(first)) == ["created", "canceled", "attention:late"]
    assert fixture.status(links.intent(second)) == "pending"
    assert links.checkout(first)["payment_link"]["can_restart"] is False


def test_a_switch_that_cannot_be_made_cancels_nothing(fixture: LedgerFixture) -> None:
    """All or nothing: an unknown asset, a link that is over, a checkout without a link."""
    links = Links(fixture, prices=TWO)
    token = links.start(asset="sbtc")
    with pytest.raises(Refused, match="choose one of sbtc, stx"):
        links.switch(token, "usdcx")
    links.change(active=False)
    assert links.checkout(token)["alternatives"] == []
    with pytest.raises(Refused, match="not used any more"):
        links.switch(token, "stx")
    assert fixture.status(links.intent(token)) == "pending"
    bare = fixture.create()
    with fixture.database.read() as connection:
        other = intent_store.load_intents(connection, [bare])[bare].checkout_token
    assert other is not None
    assert links.checkout(other)["payment_link"] is None
    with pytest.raises(Refused, match="not started from a link"):
        links.switch(other, "stx")
    with pytest.raises(NotFound):
        links.switch("x" * 22, "stx")


# Starting anew


def test_what_expired_unpaid_is_started_anew_in_place(fixture: LedgerFixture) -> None:
    """At the link's present price; sent twice, it leads to the same one, and the old checkout leads on."""
    links = Links(fixture, amount="7000")
    first = links.start()
    assert links.restart(first) == first, "it is open"
    links.expire()
    assert links.checkout(first)["payment_link"]["can_restart"] is True
    links.change(amount="8000")
    second = links.restart(first)
    assert links.restart(first) == second
    assert links.checkout(second)["amount"] == "8000"
    assert links.checkout(first)["payment_link"]["continued_url"] == f"/pay/{second}"
    links.expire()
    third = links.restart(first)
    assert third not in (first, second), "the one that took its place has expired too"
    assert links.restart(second) == third


def test_what_came_for_an_expired_payment_is_not_asked_for_twice(fixture: LedgerFixture) -> None:
    """Partly paid or paid late: the shop owes it, and the page does not offer to pay again."""
    links = Links(fixture, amount="7000")
    token = links.start()
    links.pay(token, 5)
    links.expire()
    assert links.checkout(token)["payment_link"]["can_restart"] is False
    with pytest.raises(Refused, match="ask the shop"):
        links.restart(token)


def test_what_the_shop_canceled_is_not_started_anew(fixture: LedgerFixture) -> None:
    """They had a reason; who wants to pay all the same opens the link."""
    links = Links(fixture, amount="7000")
    token = links.start()
    fixture.cancel(links.intent(token))
    assert links.checkout(token)["payment_link"]["can_restart"] is False
    with pytest.raises(Refused, match="cannot be started anew"):
        links.restart(token)
    assert links.start() != token


def test_a_link_with_a_password_is_opened_anew_by_the_password(fixture: LedgerFixture) -> None:
    """The address of an old checkout is no key to it."""
    links = Links(fixture, amount="7000", password="x")
    with links.payer() as payer:
        _, stored = payer.password_of(links.code)
    assert stored is not None
    token = links.start(known=stored)
    links.expire()
    assert links.checkout(token)["payment_link"]["can_restart"] is False
    with pytest.raises(Refused, match="is needed"):
        links.restart(token)


# Passwords


def test_a_locked_link_says_no_more_than_who_is_paid(fixture: LedgerFixture) -> None:
    """Until a token opens it, which lasts an hour and ends with the password."""
    links = Links(fixture, amount="7000", description="Private lesson", password="x")
    with links.payer() as payer:
        document, _, link = payer.link_page(links.code)
        _, stored = payer.password_of(links.code)
        assert stored is not None
        token = passwords.unlock_token(link, stored, now=fixture.clock())
        opened, _, _ = payer.link_page(links.code, unlock=token)
    assert (document["locked"], document["prices"], document["description"]) == (True, [], None)
    assert (opened["locked"], opened["description"]) == (False, "Private lesson")
    links.start(unlock=token)
    other = Links(fixture, amount="7000", password="x")
    assert other.refused(unlock=token) == "wrong_password"
    fixture.clock.now += passwords.UNLOCKED_SECONDS + 1
    assert links.refused(unlock=token) == "wrong_password"


def test_a_changed_password_is_the_only_one(fixture: LedgerFixture) -> None:
    """Also for who has just shown the old one: it is compared when the payment is made."""
    links = Links(fixture, amount="7000", password="old")
    with links.payer() as payer:
        link, stored = payer.password_of(links.code)
    assert stored is not None
    token = passwords.unlock_token(link, stored, now=fixture.clock())
    with fixture.services(fixture.merchant) as services:
        changed = ChangePaymentLink(password="new")
        services.change_link(links.id, changed, password_hash=passwords.hash_password("new"))
    assert links.refused(known=stored) == "wrong_password"
    assert links.refused(unlock=token) == "wrong_password"


# What was changed meanwhile


def test_an_amount_of_one_asset_is_never_asked_for_in_another(fixture: LedgerFixture) -> None:
    """Where the link has become one of an open amount, the payer says it anew: on the link's own page."""
    links = Links(fixture, prices=TWO)
    token = links.start(asset="sbtc")
    links.change(asset="stx", min_amount="1")
    assert links.checkout(token)["alternatives"] == []
    with pytest.raises(Refused) as refused:
        links.switch(token, "stx")
    assert refused.value.code == "not_switchable"
    assert links.checkout(token)["state"] == "waiting"


def test_an_asset_that_the_settings_have_no_more_is_not_asked_for(fixture: LedgerFixture) -> None:
    """Its decimals are not known: the page must not ask for a million times the amount."""
    links = Links(fixture, amount="7000000", asset="usdcx")
    token = links.start()
    assert (links.checkout(token)["decimals"], links.checkout(token)["pay"] is None) == (6, False)
    without = {name: asset for name, asset in fixture.settings.assets.items() if name != "usdcx"}
    fixture.settings = fixture.settings.model_copy(update={"assets": without})
    assert links.checkout(token)["pay"] is None
    with fixture.database.read() as connection, pytest.raises(Refused) as refused:
        wallet_call.document(connection, token, sender=PAYER, settings=fixture.settings, now=fixture.clock())
    assert refused.value.code == "not_payable"
    assert links.refused() == "asset_missing"


# Statistics


def test_the_statistics_follow_the_money(fixture: LedgerFixture) -> None:
    """Started, paid with what came, abandoned, expired with part of it, canceled: each counts once."""
    links = Links(fixture, prices=TWO)
    paid, part, gone, left = (
        links.start(f"{number:022d}", asset="stx" if number == 0 else "sbtc") for number in range(4)
    )
    links.pay(paid)
    links.pay(part, 5)
    links.switch(left, "stx")
    found = links.statistics()
    assert (found["started"], found["open"], found["paid"], found["canceled"]) == (5, 3, 1, 1)
    links.expire()
    found = links.statistics()
    assert (found["open"], found["expired"], found["abandoned"]) == (0, 3, 2)
    assert found["amounts"] == {"stx": "25000000"}
    assert found["decimals"] == {"stx": 6}
    assert gone != part


def test_a_reorg_takes_a_payment_and_its_use_back(fixture: LedgerFixture) -> None:
    """The sum of the day and the link's uses follow the chain; mined again, they are as before."""
    links = Links(fixture, amount="7000", max_uses=1)
    token = links.start()
    links.pay(token)
    before = links.statistics()
    assert (before["paid"], before["amounts"]) == (1, {"sbtc": "7000"})
    memo = str(links.checkout(token)["reference"]).encode()
    fixture.fork(1, [[], []])
    after = links.statistics()
    assert (after["paid"], after["open"], after["amounts"]) == (0, 1, {})
    assert links.document()["uses"] == 1
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 7000, memo))
    assert links.statistics() == before
    fixture.fork(1, [[], []])
    fixture.pass_time(7200 + 60)
    assert fixture.status(links.intent(token)) == "failed"
    assert (links.document()["uses"], links.document()["status"]) == (0, "active")
    assert links.statistics()["failed"] == 1


def test_views_count_each_visitor_once_a_day(fixture: LedgerFixture) -> None:
    """Hashes are kept for their day and forgotten with its key; the numbers stay."""
    links, other = Links(fixture, amount="7000"), Links(fixture, amount="7000")
    with fixture.database.begin() as connection:
        key = link_views.key_of(connection, 20_833)
        assert link_views.key_of(connection, 20_833) == key, "a restart, or another process"
        link_views.record(connection, 20_833, {(links.id, b"a" * 16), (links.id, b"b" * 16)})
        link_views.record(connection, 20_833, {(links.id, b"a" * 16), (other.id, b"c" * 16)})
        link_views.record(connection, 20_834, {(links.id, b"a" * 16)})
        assert link_views.days(connection, links.id) == {20_833: 2, 20_834: 1}
        assert link_views.days(connection, other.id) == {20_833: 1}
        assert link_views.forget(connection, before=20_834) == 3
        assert link_views.forget(connection, before=20_834) == 0
        assert link_views.key_of(connection, 20_833) != key
        assert link_views.days(connection, links.id) == {20_833: 2, 20_834: 1}


def test_a_flood_of_visitors_is_not_counted(fixture: LedgerFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number per link and day nobody is stored any more."""
    monkeypatch.setattr(link_views, "MAX_VIEWS_PER_DAY", 3)
    links = Links(fixture, amount="7000")
    with fixture.database.begin() as connection:
        for number in range(6):
            link_views.record(connection, 1, {(links.id, bytes([number]) * 16)})
        assert link_views.days(connection, links.id) == {1: 3}
        assert link_views.forget(connection, before=2) == 3


def test_counts_of_links_are_those_of_their_intents(fixture: LedgerFixture) -> None:
    """Two links do not count for each other."""
    one, two = Links(fixture, amount="7000"), Links(fixture, amount="7000")
    one.start()
    fixture.create()
    with fixture.database.read() as connection:
        totals = day_counts.totals_of_links(connection, [one.id, two.id])
    assert (totals[one.id].created, totals[two.id].created) == (1, 0)
