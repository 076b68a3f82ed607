"""Random sequences of payments and refunds in the real VM, against a model of the contract."""

import hashlib
from dataclasses import dataclass
from itertools import count

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chain.clarity import Buffer, Err, NoneValue, Ok, PrincipalValue, Some, Tuple, UInt, Value
from chain.model import MAX_AMOUNT
from chain.testing import principal
from contracts.terms import payment_call, terms_hash
from tests.integration.contracts.vm import PAYMENTS, SBTC, TOY, Answer, Vm, prints

TOKENS = {None: "STX", SBTC: "sbtc-token.sbtc-token", TOY: "toy-token.toy"}
LATER = 4_102_444_800
EACH = 1_000

people = st.integers(0, 2)
tokens = st.sampled_from(list(TOKENS))
amounts = st.integers(1, EACH) | st.sampled_from([0, 1, EACH + 1, MAX_AMOUNT])
_numbers = count()


@dataclass
class Receipt:
    """The contract's expected record of a payment."""

    digest: bytes
    merchant: str
    payer: str
    token: str | None
    amount: int
    height: int
    refunded: int = 0


class Payments(RuleBasedStateMachine):
    """Three principals who pay and refund each other, in three assets."""

    receipts = Bundle("receipts")

    def __init__(self, vm: Vm) -> None:
        super().__init__()
        self.vm = vm
        self.known: list[Receipt] = []
        self.balances: dict[tuple[str, str], int] = {}
        # New principals for every sequence, so that earlier sequences do not matter.
        self.people = [principal(f"person {next(_numbers)}") for _ in range(3)]

    @initialize()
    def give_money(self) -> None:
        for person in self.people:
            for token, asset in TOKENS.items():
                self.vm.mint(token, person, EACH)
                self.balances[person, asset] = EACH

    @rule(
        target=receipts,
        token=tokens,
        payer=people,
        merchant=people,
        amount=amounts,
        expired=st.integers(0, 5),
    )
    def pay(
        self, token: str | None, payer: int, merchant: int, amount: int, expired: int
    ) -> Receipt | MultipleResults[Receipt]:
        sender, shop = self.people[payer], self.people[merchant]
        salt = hashlib.sha256(f"law {next(_numbers)}".encode()).digest()[:16]
        expires_at = LATER if expired else 1
        digest = terms_hash(amount=amount, expires_at=expires_at, merchant=shop, salt=salt, token=token)
        answer = self._call_pay(token, sender, shop, amount, expires_at, salt)
        error: int | None
        if amount == 0:
            error = 1400
        elif not expired:
            error = 1410
        else:
            error = self._token_error(token, sender, shop, amount)
        if error is not None:
            self._refused(answer, error)
            return multiple()
        assert answer.result == Ok(Buffer(digest))
        self._moved(token, sender, shop, amount)
        assert [printed["intent-id"] for printed in prints(answer, "payment")] == [Buffer(digest)]
        # The same terms again, by any caller: refused, and nothing moves.
        self._refused(self._call_pay(token, self.people[0], shop, amount, expires_at, salt), 1409)
        paid = Receipt(
            digest=digest,
            merchant=shop,
            payer=sender,
            token=token,
            amount=amount,
            height=answer.height,
        )
        self.known.append(paid)
        return paid

    @rule(paid=receipts, amount=amounts, caller=people, token=tokens)
    def refund_somehow(self, paid: Receipt, amount: int, caller: int, token: str | None) -> None:
        self._refund(paid, amount, self.people[caller], token)

    @rule(paid=receipts, amount=amounts)
    def refund(self, paid: Receipt, amount: int) -> None:
        self._refund(paid, amount, paid.merchant, paid.token)

    @rule(paid=consumes(receipts))
    def refund_the_rest(self, paid: Receipt) -> None:
        self._refund(paid, paid.amount - paid.refunded, paid.merchant, paid.token)

    @precondition(lambda self: self.balances)
    @invariant()
    def balances_add_up_and_the_contract_has_nothing(self) -> None:
        for person in self.people:
            held = self.vm.holdings(person)
            assert {asset: held.get(asset, 0) for asset in TOKENS.values()} == {
                asset: self.balances[person, asset] for asset in TOKENS.values()
            }
        assert self.vm.holdings(PAYMENTS) == {}

    def teardown(self) -> None:
        for paid in self.known:
            self._check(paid)

    def _refund(self, paid: Receipt, amount: int, caller: str, token: str | None) -> None:
        foreign = [] if token is None else [PrincipalValue.parse(token)]
        function = "refund-stx" if token is None else "refund-token"
        answer = self.vm.call(PAYMENTS, function, *foreign, Buffer(paid.digest), UInt(amount), sender=caller)
        error: int | None
        if caller != paid.merchant:
            error = 1401
        elif token != paid.token:
            error = 1412
        elif amount == 0:
            error = 1400
        elif amount > paid.amount - paid.refunded:
            error = 1413
        else:
            error = self._token_error(token, caller, paid.payer, amount)
        if error is not None:
            self._refused(answer, error)
        else:
            paid.refunded += amount
            assert answer.result == Ok(UInt(paid.refunded))
            self._moved(token, caller, paid.payer, amount)
            (printed,) = prints(answer, "refund")
            assert (printed["amount"], printed["refunded-total"]) == (UInt(amount), UInt(paid.refunded))
        self._check(paid)

    def _call_pay(
        self, token: str | None, payer: str, merchant: str, amount: int, expires_at: int, salt: bytes
    ) -> Answer:
        call = payment_call(
            contract_id=PAYMENTS,
            amount=amount,
            expires_at=expires_at,
            merchant=merchant,
            salt=salt,
            asset="STX" if token is None else f"{token}::any",
            payer=payer,
        )
        return self.vm.call(
            PAYMENTS, call["function"], *(argument["hex"] for argument in call["arguments"]), sender=payer
        )

    def _check(self, paid: Receipt) -> None:
        assert paid.refunded <= paid.amount
        token: Value = NoneValue() if paid.token is None else Some(PrincipalValue.parse(paid.token))
        assert self.vm.read("get-receipt", Buffer(paid.digest)) == Some(
            Tuple.of(
                {
                    "merchant": PrincipalValue.parse(paid.merchant),
                    "payer": PrincipalValue.parse(paid.payer),
                    "token": token,
                    "amount": UInt(paid.amount),
                    "refunded": UInt(paid.refunded),
                    "stacks-height": UInt(paid.height),
                }
            )
        )

    def _token_error(self, token: str | None, sender: str, recipient: str, amount: int) -> int | None:
        if sender == recipient:
            return 2
        return 1 if amount > self.balances[sender, TOKENS[token]] else None

    def _moved(self, token: str | None, sender: str, recipient: str, amount: int) -> None:
        self.balances[sender, TOKENS[token]] -= amount
        self.balances[recipient, TOKENS[token]] += amount

    def _refused(self, answer: Answer, error: int) -> None:
        assert answer.result == Err(UInt(error))
        assert answer.events == []


def test_receipts_and_refunds_never_exceed_what_was_paid_and_balances_add_up(vm: Vm) -> None:
    class InThisVm(Payments):
        def __init__(self) -> None:
            super().__init__(vm)

    run_state_machine_as_test(
        InThisVm, settings=settings(max_examples=50, stateful_step_count=25, deadline=None)
    )
