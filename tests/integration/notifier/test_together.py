"""Concurrent sessions about one endpoint on PostgreSQL: no delivery is lost between them."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from notifier import deliveries, endpoints, outbox
from notifier.errors import NotPossible

pytestmark = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)

WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture
def meanwhile(engine):
    """Return a function that starts ``second`` within ``first``'s transaction and asserts that it waits."""

    def run(first, second):
        def apart():
            with engine.begin() as conn:
                return second(conn)

        with ThreadPoolExecutor(1) as threads:
            with engine.begin() as conn:
                first(conn)
                running = threads.submit(apart)
                waits = 0
                while not waits:
                    assert not running.done(), "it did not wait"
                    with engine.connect() as other:
                        waits = other.execute(WAITING).scalar_one()
            return running.result(20)

    return run


def test_an_event_that_is_being_written_is_not_held_by_an_endpoint_that_is_being_enabled(
    shop, engine, clock, meanwhile
):
    id_ = shop.endpoint()
    with engine.begin() as conn:
        endpoints.disable(conn, id_)
    meanwhile(
        lambda conn: outbox.enqueue(conn, shop.row(), now=clock()),
        lambda conn: endpoints.enable(conn, id_, now=clock()),
    )
    assert shop.delivery().status == "pending"


def test_an_event_that_is_being_written_is_dead_with_its_removed_endpoint(shop, clock, meanwhile):
    id_ = shop.endpoint()
    meanwhile(
        lambda conn: outbox.enqueue(conn, shop.row(), now=clock()), lambda conn: endpoints.remove(conn, id_)
    )
    assert shop.delivery().status == "dead"


def test_an_event_is_not_written_for_an_endpoint_that_was_just_removed(shop, clock, meanwhile):
    id_ = shop.endpoint()
    meanwhile(
        lambda conn: endpoints.remove(conn, id_), lambda conn: outbox.enqueue(conn, shop.row(), now=clock())
    )
    assert shop.deliveries() == []


def test_of_two_retries_by_hand_the_second_waits_for_the_first(shop, engine, clock, meanwhile):
    shop.endpoint()
    shop.enqueue()
    [row] = shop.deliveries()

    def deliver(conn):
        deliveries.retry(conn, row.id, now=clock())
        conn.execute(text("UPDATE delivery SET status = 'delivered'"))

    with pytest.raises(NotPossible, match="was delivered"):
        meanwhile(deliver, lambda conn: deliveries.retry(conn, row.id, now=clock()))


def test_two_rotations_at_once_keep_both_secrets(shop, engine, clock, meanwhile):
    id_ = shop.endpoint()

    def rotate(conn):
        return endpoints.rotate_secret(conn, id_, secret_store=shop.secret_store, now=clock())

    with engine.connect() as conn:
        before = conn.execute(text("SELECT json_array_length(secrets) FROM endpoint")).scalar_one()
    meanwhile(rotate, rotate)
    with engine.connect() as conn:
        after = conn.execute(text("SELECT json_array_length(secrets) FROM endpoint")).scalar_one()
    assert after == before + 2
