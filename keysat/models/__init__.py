"""The database tables. All pending work is stored in rows, and invariants are declared as constraints."""

from keysat.models.api_key import ApiKey
from keysat.models.audit import AuditLine
from keysat.models.discount_code import DiscountCode, Redemption
from keysat.models.epoch import Epoch
from keysat.models.expiry_notice import ExpiryNotice
from keysat.models.invoice import Invoice
from keysat.models.invoice_check import InvoiceCheck
from keysat.models.license import License
from keysat.models.machine import Machine
from keysat.models.mail import Mail
from keysat.models.policy import Policy
from keysat.models.product import Product
from keysat.models.provider_account import ProviderAccount
from keysat.models.provider_event import ProviderEvent
from keysat.models.recovery_link import RecoveryLink
from keysat.models.status_list import StatusList
from keysat.models.subscription import LicenseExtension, Subscription
from keysat.models.sweep import Sweep
from keysat.models.task_run import TaskRun
from keysat.models.tip import Tip, TipPayment
from keysat.models.trial import Trial
from keysat.models.webhook import DeliveryAttempt, OutboundEvent, WebhookDelivery, WebhookEndpoint

__all__ = [
    "ApiKey",
    "AuditLine",
    "DeliveryAttempt",
    "DiscountCode",
    "Epoch",
    "ExpiryNotice",
    "Invoice",
    "InvoiceCheck",
    "License",
    "LicenseExtension",
    "Machine",
    "Mail",
    "OutboundEvent",
    "Policy",
    "Product",
    "ProviderAccount",
    "ProviderEvent",
    "RecoveryLink",
    "Redemption",
    "StatusList",
    "Subscription",
    "Sweep",
    "TaskRun",
    "Tip",
    "TipPayment",
    "Trial",
    "WebhookDelivery",
    "WebhookEndpoint",
]
