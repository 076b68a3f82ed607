;; sbtc-payments: pay a merchant in a SIP-010 token or in STX under an intent id that nobody can forge or spoil.
;;
;; The intent id is the hash of the terms (amount, expiry, merchant, salt, token). This contract computes it from what is
;; really paid, so nothing is registered beforehand, and other terms are another id. Money goes straight from payer to
;; merchant: the contract never holds any. Nobody has a special right: no owner, no pause, no fee, no upgrade.
;;
;; "Who may call" speaks of tx-sender, so that a contract (a smart wallet) can pay, be paid and refund as well.
;;
;; Errors of the token (sBTC and STX: u1 balance too small, u2 sender is the recipient) pass through as they are.
;; Text in this file is ASCII; deploy it as Clarity 4 or later.

;; SIP-010. Declared here because the trait's address differs between networks: one text, one hash, everywhere.
(define-trait sip-010
  (
    (transfer (uint principal principal (optional (buff 34))) (response bool uint))
    (get-name () (response (string-ascii 32) uint))
    (get-symbol () (response (string-ascii 32) uint))
    (get-decimals () (response uint uint))
    (get-balance (principal) (response uint uint))
    (get-total-supply () (response uint uint))
    (get-token-uri () (response (optional (string-utf8 256)) uint))
  )
)

(define-constant ERR-ZERO-AMOUNT (err u1400))
(define-constant ERR-NOT-THE-MERCHANT (err u1401))
(define-constant ERR-NO-RECEIPT (err u1404))
(define-constant ERR-ALREADY-PAID (err u1409))
(define-constant ERR-EXPIRED (err u1410))
(define-constant ERR-OTHER-TOKEN (err u1412))
(define-constant ERR-OVER-REFUND (err u1413))
;; Plus what restrict-assets? says: u0, the token moved more than the amount; u128, it moved something else.
(define-constant ASSET-VIOLATION u1500)

;; Intent id -> what was paid. A row is written once; later only `refunded` grows, up to `amount`.
(define-map receipts
  (buff 32)
  {
    merchant: principal,
    payer: principal,
    token: (optional principal), ;; none: STX
    amount: uint,
    refunded: uint,
    stacks-height: uint,
  }
)

;; Pay `amount` of `token` to `merchant` and leave a receipt under the id of these terms.
;; Who: anybody; the payer is tx-sender.
;; Moves: exactly `amount` of `token`, payer -> merchant, with the intent id as the transfer's memo.
;; Gives: (ok intent-id).
;; Errors: u1400 amount is zero, u1410 stacks-block-time is past `expires-at`, u1409 already paid, u1500 + n the token
;; tried to move more, or something else, of the payer's; the token's own.
(define-public (pay-token
    (token <sip-010>)
    (merchant principal)
    (amount uint)
    (expires-at uint)
    (salt (buff 16))
  )
  (let ((intent-id (try! (record-payment merchant (some (contract-of token)) amount expires-at salt))))
    (try! (move token amount merchant intent-id))
    (ok intent-id)
  )
)

;; Pay `amount` micro-STX to `merchant` and leave a receipt under the id of these terms.
;; Who: anybody; the payer is tx-sender.
;; Moves: exactly `amount` micro-STX, payer -> merchant, with the intent id as the transfer's memo.
;; Gives: (ok intent-id).
;; Errors: u1400 amount is zero, u1410 stacks-block-time is past `expires-at`, u1409 already paid; u1, u2 of STX.
(define-public (pay-stx
    (merchant principal)
    (amount uint)
    (expires-at uint)
    (salt (buff 16))
  )
  (let ((intent-id (try! (record-payment merchant none amount expires-at salt))))
    (try! (stx-transfer-memo? amount tx-sender merchant intent-id))
    (ok intent-id)
  )
)

;; Give `amount` of a token payment back. May be called again until the whole payment is returned.
;; Who: the merchant of the receipt.
;; Moves: exactly `amount` of `token`, merchant -> payer, with the intent id as the transfer's memo.
;; Gives: (ok what has been refunded in all).
;; Errors: u1404 no such receipt, u1401 the caller is not its merchant, u1412 it was paid in something else, u1400 amount is
;; zero, u1413 more than is left of the payment, u1500 + n as for pay-token; the token's own.
(define-public (refund-token
    (token <sip-010>)
    (intent-id (buff 32))
    (amount uint)
  )
  (let ((refund (try! (record-refund intent-id (some (contract-of token)) amount))))
    (try! (move token amount (get payer refund) intent-id))
    (ok (get total refund))
  )
)

;; Give `amount` micro-STX of an STX payment back. May be called again until the whole payment is returned.
;; Who: the merchant of the receipt.
;; Moves: exactly `amount` micro-STX, merchant -> payer, with the intent id as the transfer's memo.
;; Gives: (ok what has been refunded in all).
;; Errors: u1404 no such receipt, u1401 the caller is not its merchant, u1412 it was paid in a token, u1400 amount is zero,
;; u1413 more than is left of the payment; u1, u2 of STX.
(define-public (refund-stx
    (intent-id (buff 32))
    (amount uint)
  )
  (let ((refund (try! (record-refund intent-id none amount))))
    (try! (stx-transfer-memo? amount tx-sender (get payer refund) intent-id))
    (ok (get total refund))
  )
)

;; What was paid under this id, or none. Who: anybody. Moves nothing, no errors.
(define-read-only (get-receipt (intent-id (buff 32)))
  (map-get? receipts intent-id)
)

;; Whether these terms were paid; stays true after refunds. Who: anybody. Moves nothing, no errors.
(define-read-only (is-paid (intent-id (buff 32)))
  (is-some (map-get? receipts intent-id))
)

;; The id of these terms: sha256 of the consensus bytes of the tuple. `token` none is STX; `expires-at` in unix seconds.
;; Who: anybody. Moves nothing, no errors (a tuple of this type always has consensus bytes).
(define-read-only (get-intent-id
    (merchant principal)
    (token (optional principal))
    (amount uint)
    (expires-at uint)
    (salt (buff 16))
  )
  (sha256 (unwrap-panic (to-consensus-buff? {
    amount: amount,
    expires-at: expires-at,
    merchant: merchant,
    salt: salt,
    token: token,
  })))
)

;; Check a payment, write its receipt, print it. The money moves after this: if that fails, all of it is undone.
(define-private (record-payment
    (merchant principal)
    (token (optional principal))
    (amount uint)
    (expires-at uint)
    (salt (buff 16))
  )
  (let ((intent-id (get-intent-id merchant token amount expires-at salt)))
    (asserts! (> amount u0) ERR-ZERO-AMOUNT)
    (asserts! (<= stacks-block-time expires-at) ERR-EXPIRED)
    (asserts!
      (map-insert receipts intent-id {
        merchant: merchant,
        payer: tx-sender,
        token: token,
        amount: amount,
        refunded: u0,
        stacks-height: stacks-block-height,
      })
      ERR-ALREADY-PAID
    )
    (print {
      topic: "payment",
      version: u1,
      intent-id: intent-id,
      merchant: merchant,
      payer: tx-sender,
      token: token,
      amount: amount,
      expires-at: expires-at,
      stacks-height: stacks-block-height,
      burn-height: burn-block-height,
      stacks-time: stacks-block-time,
    })
    (ok intent-id)
  )
)

;; Check a refund, add it to the receipt, print it. Gives whom to pay and the sum of all refunds.
(define-private (record-refund
    (intent-id (buff 32))
    (token (optional principal))
    (amount uint)
  )
  (let (
      (receipt (unwrap! (map-get? receipts intent-id) ERR-NO-RECEIPT))
      (merchant (get merchant receipt))
      (payer (get payer receipt))
      (refunded (get refunded receipt))
    )
    (asserts! (is-eq tx-sender merchant) ERR-NOT-THE-MERCHANT)
    (asserts! (is-eq token (get token receipt)) ERR-OTHER-TOKEN)
    (asserts! (> amount u0) ERR-ZERO-AMOUNT)
    ;; Not `refunded + amount <= paid`: that sum could pass 2^128, which aborts without an error code.
    (asserts! (<= amount (- (get amount receipt) refunded)) ERR-OVER-REFUND)
    (let ((total (+ refunded amount)))
      (map-set receipts intent-id (merge receipt { refunded: total }))
      (print {
        topic: "refund",
        version: u1,
        intent-id: intent-id,
        merchant: merchant,
        to: payer,
        token: token,
        amount: amount,
        refunded-total: total,
        stacks-height: stacks-block-height,
        burn-height: burn-block-height,
      })
      (ok {
        payer: payer,
        total: total,
      })
    )
  )
)

;; Let a token that may be hostile move tx-sender's `amount` of it, and nothing else that tx-sender owns. The token may still
;; move nothing and say ok: only the chain's own ft_transfer_event proves that money moved.
(define-private (move
    (token <sip-010>)
    (amount uint)
    (recipient principal)
    (intent-id (buff 32))
  )
  (match
    (restrict-assets? tx-sender ((with-ft (contract-of token) "*" amount))
      (try! (contract-call? token transfer amount tx-sender recipient (some intent-id)))
    )
    moved (ok moved)
    violation (err (+ ASSET-VIOLATION violation))
  )
)
