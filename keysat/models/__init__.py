"""The tables. Rows hold all that is owed; whatever must stay true of them is a constraint here."""

from keysat.models.audit import AuditLine
from keysat.models.invoice import Invoice
from keysat.models.license import License
from keysat.models.policy import Policy
from keysat.models.product import Product
from keysat.models.provider_account import ProviderAccount

__all__ = ["AuditLine", "Invoice", "License", "Policy", "Product", "ProviderAccount"]
