"""A provider that can misbehave, for the demo and the tests: to each store a BTCPay Server, Zaprite or OpenNode.

One process, an own ledger, real HTTP. `http` is the server, `provider` BTCPay's side of it (`/api/v1/`), `zaprite`
Zaprite's (`/v1/`), `opennode` OpenNode's (`/v1/charge`), `modes` lists them, and `control` is ours (`/sandbox/`). All
act on `ledger`, whose rules are the pure functions of `transitions`. Its events leave through `webhooks`. `faults`
decides what befalls a provider request, `wire` carries that out.

    with Sandbox() as sandbox, SandboxClient(sandbox.url) as client:
        client.register_store("shop", "api-key", "http://127.0.0.1:8000/hook", "a secret of 24 bytes or more")
        client.set_webhooks(drop=1.0)
        client.set_faults([{"kind": "status", "status": 429, "retry_after": 2, "times": 3}])
        ...  # POST {sandbox.url}/api/v1/stores/shop/invoices with `Authorization: token api-key`
        ...  # with kind="zaprite" above: {sandbox.url}/v1/orders with `Authorization: Bearer api-key`
        client.pay(invoice_id)
        client.ledger()["invoices"][0]["paid_at"]

Every fault can be limited by `store`, `method`, `path_prefix`, `times` (number of uses, null: no limit) and
`probability`. A `seed` beside the faults makes the random choices repeatable. Faults are evaluated in order. `latency`
and `rewrite` accumulate, and the first fault of another kind ends the evaluation:

    latency     {seconds}                          waits before it executes the request
    rewrite     {fields?, remove?}                 changes the invoice in the response, or each invoice of a list
    status      {status, retry_after?, body?, executed?}   refuses the request, which still runs with `executed`
    redirect    {location}                         refuses the request with a 302
    hang        {seconds}                          executes the request, sends nothing, closes
    drip        {seconds_per_byte, part?}          executes the request and sends `headers` or `body` byte by byte
    cut         {}                                 executes the request and closes midway through the body
    garbage     {}                                 executes the request and responds 200 with HTML
    wrong_json  {body?}                            executes the request and responds 200 with other JSON
    huge        {bytes}                            executes the request and responds with that many bytes of JSON

The ledger: `{"invoices": [{id, store_id, order_id, amount, currency, paid_amount, status, additional_status,
created_at, paid_at, refunded, payments: [{id, at, invoice_id, store_id, amount, confirmed, preimage}]}], "webhooks":
{sent, dropped, delivered, failed}, "requests": {total, by_store, by_route}}`. Amounts are decimal strings in whole
units, times are Unix seconds. `paid_at` is when the paid amount first reached the invoice's amount, or null. `preimage`
is null unless the payment came over Lightning. Sent webhooks that are neither delivered nor failed are pending.
"""
