"""JSON of the records: BTCPay's own shapes, and the ledger's entries."""

from __future__ import annotations

from typing import Any

from keysat.core.money import Money
from keysat.sandbox.records import CHAIN, LIGHTNING, Invoice, Payment, Status, Store


def decimal_string(amount: int, currency: str) -> str:
    """Format an amount in the smallest unit as BTCPay does: whole units with all decimals, `0.00002100`."""
    return f"{Money(amount, currency).to_decimal():f}"


def store_data(store: Store) -> dict[str, Any]:
    """Return BTCPay's `StoreData` with its default settings."""
    return {
        "id": store.id,
        "name": f"Sandbox store {store.id}",
        "website": None,
        "defaultCurrency": "BTC",
        "invoiceExpiration": 900,
        "monitoringExpiration": 86_400,
        "speedPolicy": "MediumSpeed",
        "paymentTolerance": 0,
        "archived": False,
        "networkFeeMode": "MultiplePaymentsOnly",
    }


def invoice_data(invoice: Invoice, base_url: str) -> dict[str, Any]:
    """Return BTCPay's `InvoiceData`."""
    draft = invoice.draft
    return {
        "id": invoice.id,
        "storeId": invoice.store_id,
        "amount": decimal_string(invoice.amount, draft.currency),
        "paidAmount": decimal_string(invoice.paid, draft.currency),
        "currency": draft.currency,
        "type": "TopUp" if invoice.is_top_up else "Standard",
        "checkoutLink": f"{base_url}/i/{invoice.id}",
        "createdTime": int(invoice.created_at),
        "expirationTime": invoice.expires_at,
        "monitoringExpiration": invoice.expires_at + draft.monitored_for,
        "status": invoice.status,
        "additionalStatus": invoice.additional,
        "availableStatusesForManualMarking": [
            status for status in (Status.SETTLED, Status.INVALID) if status != invoice.status
        ],
        "archived": False,
        "metadata": draft.metadata,
        "checkout": _checkout(invoice),
        "receipt": draft.receipt,
    }


def _checkout(invoice: Invoice) -> dict[str, Any]:
    draft = invoice.draft
    return {
        "speedPolicy": "MediumSpeed",
        "paymentMethods": [CHAIN, LIGHTNING],
        "paymentTolerance": 0,
        **draft.checkout,
        "expirationMinutes": draft.expires_in // 60,
        "monitoringMinutes": draft.monitored_for // 60,
    }


def payment_data(payment: Payment, currency: str) -> dict[str, Any]:
    """Return BTCPay's `Payment`, as webhooks contain it."""
    return {
        "id": payment.id,
        "receivedDate": int(payment.at),
        "value": decimal_string(payment.amount, currency),
        "fee": decimal_string(0, currency),
        "status": "Settled" if payment.is_confirmed else "Processing",
        "destination": payment.destination,
    }


def payment_method_data(invoice: Invoice, method: str) -> dict[str, Any]:
    """Return BTCPay's `InvoicePaymentMethodDataModel`, at a rate of 1. As BTCPay's, Lightning's has the preimage."""
    currency = invoice.draft.currency
    payments = [payment for payment in invoice.payments if payment.method == method]
    proofs = [{"paymentHash": payment.id, "preimage": payment.preimage} for payment in payments if payment.preimage]
    return {
        "paymentMethodId": method,
        "currency": currency,
        "rate": "1.0",
        "amount": decimal_string(invoice.amount, currency),
        "paymentMethodPaid": decimal_string(sum(payment.amount for payment in payments), currency),
        "totalPaid": decimal_string(invoice.paid, currency),
        "payments": [payment_data(payment, currency) for payment in payments],
        "activated": True,
        "additionalData": proofs[-1] if proofs else {},
    }


def ledger_entry(invoice: Invoice) -> dict[str, Any]:
    """Return an invoice's ledger entry. Amounts are decimal strings, times are Unix seconds with a fraction."""
    currency = invoice.draft.currency
    return {
        "id": invoice.id,
        "store_id": invoice.store_id,
        "order_id": invoice.order_id,
        "amount": decimal_string(invoice.amount, currency),
        "currency": currency,
        "paid_amount": decimal_string(invoice.paid, currency),
        "status": invoice.status,
        "additional_status": invoice.additional,
        "created_at": invoice.created_at,
        "paid_at": invoice.paid_at,
        "refunded": invoice.is_refunded,
        "payments": [
            {
                "id": payment.id,
                "at": payment.at,
                "invoice_id": invoice.id,
                "store_id": invoice.store_id,
                "amount": decimal_string(payment.amount, currency),
                "confirmed": payment.is_confirmed,
                "preimage": payment.preimage,
            }
            for payment in invoice.payments
        ],
    }
