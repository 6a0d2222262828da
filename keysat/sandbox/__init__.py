"""A provider that can misbehave, for the demo and the tests: to some stores a BTCPay Server, to others Zaprite.

One process, an own ledger, real HTTP. `http` is the server, `provider` BTCPay's side of it (`/api/v1/`), `zaprite`
Zaprite's (`/v1/`), `control` ours (`/sandbox/`). All act on `ledger`, whose rules are the pure functions of
`transitions`; its events leave through `webhooks`. `faults` decides what befalls a provider request, `wire` carries
that out.

    with Sandbox() as sandbox, SandboxClient(sandbox.url) as client:
        client.register_store("shop", "api-key", "http://127.0.0.1:8000/hook", "a secret of 24 bytes or more")
        client.set_webhooks(drop=1.0)
        client.set_faults([{"kind": "status", "status": 429, "retry_after": 2, "times": 3}])
        ...  # POST {sandbox.url}/api/v1/stores/shop/invoices with `Authorization: token api-key`
        ...  # with kind="zaprite" above: {sandbox.url}/v1/orders with `Authorization: Bearer api-key`
        client.pay(invoice_id)
        client.ledger()["invoices"][0]["paid_at"]

Faults may all be narrowed with `store`, `method`, `path_prefix`, `times` (how often; null: for ever) and `probability`.
A `seed` beside them makes the chances repeatable. In the order given, `latency` and `rewrite` add up, and the first
other one ends the search:

    latency     {seconds}                          waits before the request is carried out
    rewrite     {fields?, remove?}                 changes the invoice in the answer, or each one of a list
    status      {status, retry_after?, body?, executed?}   refuses; with `executed` it does the work and lies
    redirect    {location}                         refuses with a 302
    hang        {seconds}                          does the work, stays silent, closes
    drip        {seconds_per_byte, part?}          does the work and sends `headers` or `body` byte by byte
    cut         {}                                 does the work and closes midway through the body
    garbage     {}                                 does the work and answers 200 with HTML
    wrong_json  {body?}                            does the work and answers 200 with other JSON
    huge        {bytes}                            does the work and answers that many bytes of JSON

The ledger: `{"invoices": [{id, store_id, order_id, amount, currency, paid_amount, status, additional_status,
created_at, paid_at, refunded, payments: [{id, at, invoice_id, store_id, amount, confirmed}]}], "webhooks": {sent,
dropped, delivered, failed}, "requests": {total, by_store, by_route}}`. Amounts are decimal strings in whole units,
times Unix seconds. `paid_at` is when the paid amount first reached the invoice's, else null. Of the webhooks sent,
those neither delivered nor failed still wait.
"""
