"""Endpoints: create, modify, rotate, remove."""

import pytest
from sqlalchemy import select

from notifier import endpoints, outbox
from notifier.errors import InvalidEndpoint, NotFound, NotPossible
from notifier.schema import endpoint
from notifier.secrets import PLAIN
from notifier.signing import secret_key
from notifier.ssrf import CheckedUrl


def test_a_fresh_endpoint_gets_the_verdicts_and_a_secret_of_32_bytes(shop, engine):
    id_ = shop.endpoint("https://shop.example/hooks")
    with engine.begin() as conn:
        document = endpoints.endpoint_json(endpoints.get(conn, id_, merchant="mer_1"))
    assert document.pop("created_at").endswith("Z")
    assert document == {
        "id": id_,
        "merchant": "mer_1",
        "url": "https://shop.example/hooks",
        "events": ["payment.succeeded", "payment.failed", "payment.expired", "payment.attention"],
        "status": "enabled",
        "disabled_reason": None,
        "legacy_v0": False,
    }
    assert id_.startswith("we_")
    assert len(secret_key(shop.secrets[id_])) == 32


def test_a_merchant_has_at_most_so_many_endpoints_and_removing_one_makes_room(shop, engine, monkeypatch):
    """Every endpoint multiplies the cost of its merchant's events."""
    monkeypatch.setattr(endpoints, "MAX_ENDPOINTS", 3)
    first, second, _ = (shop.endpoint() for _ in range(3))
    with engine.begin() as conn:
        endpoints.disable(conn, second)
        endpoints.create(conn, merchant="mer_2", url="https://x.example", secret_store=PLAIN, now=0.0)
    with pytest.raises(NotPossible, match=r"mer_1 has 3 webhook endpoints.*remove one"):
        shop.endpoint()
    with engine.begin() as conn:
        endpoints.remove(conn, first)
    shop.endpoint()


def test_secrets_are_never_shown_again(shop, engine):
    id_ = shop.endpoint()
    with engine.begin() as conn:
        found = endpoints.get(conn, id_)
    assert shop.secrets[id_] not in repr(found) + str(endpoints.endpoint_json(found))


@pytest.mark.parametrize("events", [[], ["payment.unknown"], ["webhook.test"], ["payment.*"], [""]])
def test_an_unknown_subscription_is_refused_with_the_known_ones(shop, events):
    with pytest.raises(InvalidEndpoint, match=r"payment\.succeeded") as caught:
        shop.endpoint(events=events)
    assert caught.value.field == "events"


def test_a_subscription_named_twice_counts_once(shop, engine):
    id_ = shop.endpoint(events=["payment.failed", "payment.failed", "*"])
    with engine.begin() as conn:
        assert endpoints.get(conn, id_).events == ("payment.failed", "*")


def test_what_is_changed_is_changed_and_the_rest_stays(shop, engine):
    id_ = shop.endpoint()
    with engine.begin() as conn:
        before = endpoints.get(conn, id_)
        assert endpoints.modify(conn, id_) == before
        changed = endpoints.modify(conn, id_, events=["*"], merchant="mer_1")
        assert (changed.events, changed.url) == (("*",), before.url)
        changed = endpoints.modify(conn, id_, url=CheckedUrl("https://new.example/"), legacy_v0=True)
        assert (changed.events, changed.url, changed.legacy_v0) == (("*",), "https://new.example/", True)
        with pytest.raises(InvalidEndpoint):
            endpoints.modify(conn, id_, events=["nonsense"])


def test_endpoints_are_listed_newest_first_in_pages(shop, engine, clock):
    ids = []
    for _ in range(3):
        ids.append(shop.endpoint())
        clock.advance(1)
    with engine.begin() as conn:
        first, cursor = endpoints.list_endpoints(conn, merchant="mer_1", limit=2)
        rest, end = endpoints.list_endpoints(conn, limit=2, cursor=cursor)
        assert endpoints.list_endpoints(conn, merchant="mer_2") == ([], None)
    assert [found.id for found in first + rest] == ids[::-1]
    assert end is None


def test_another_merchants_endpoint_is_not_found_by_any_way(shop, engine, clock):
    id_ = shop.endpoint()
    with engine.begin() as conn:
        for act in (
            lambda: endpoints.get(conn, id_, merchant="mer_2"),
            lambda: endpoints.modify(conn, id_, merchant="mer_2", events=["*"]),
            lambda: endpoints.remove(conn, id_, merchant="mer_2"),
            lambda: endpoints.enable(conn, id_, merchant="mer_2", now=0),
            lambda: endpoints.disable(conn, id_, merchant="mer_2"),
            lambda: endpoints.rotate_secret(conn, id_, merchant="mer_2", secret_store=PLAIN, now=0),
            lambda: endpoints.send_test(conn, id_, merchant="mer_2", now=0),
        ):
            with pytest.raises(NotFound, match=f"no endpoint '{id_}'"):
                act()


def test_a_removed_endpoint_is_gone_with_its_secrets_and_its_open_deliveries_are_dead(shop, engine, clock):
    id_ = shop.endpoint()
    shop.enqueue()
    with engine.begin() as conn:
        endpoints.remove(conn, id_)
        with pytest.raises(NotFound):
            endpoints.get(conn, id_)
        assert endpoints.list_endpoints(conn) == ([], None)
        assert conn.execute(select(endpoint.c.secrets)).scalar_one() == []
        assert outbox.stats(conn, now=clock()).dead == 0, "nobody can do anything about them"
    assert (shop.delivery().status, shop.delivery().last_error) == ("dead", "the endpoint was removed")


def test_disabling_twice_keeps_the_first_reason_and_enabling_twice_changes_nothing(shop, engine, clock):
    id_ = shop.endpoint()
    shop.enqueue()
    with engine.begin() as conn:
        assert endpoints.disable(conn, id_).disabled_reason == "operator"
        again = endpoints.disable(conn, id_, reason=endpoints.DisabledReason.GONE)
        assert again.disabled_reason == "operator"
        assert endpoints.enable(conn, id_, now=clock()).disabled_reason is None
    due = shop.delivery().next_attempt_at
    clock.advance(5)
    with engine.begin() as conn:
        endpoints.enable(conn, id_, now=clock())
    assert (shop.delivery().status, shop.delivery().next_attempt_at) == ("pending", due)


@pytest.mark.parametrize("overlap", [-1, 8 * 86400])
def test_an_overlap_beyond_a_week_is_refused(shop, engine, overlap):
    id_ = shop.endpoint()
    with pytest.raises(InvalidEndpoint, match="between 0 and 7 days"), engine.begin() as conn:
        endpoints.rotate_secret(conn, id_, overlap=overlap, secret_store=PLAIN, now=0)
