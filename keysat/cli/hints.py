"""The hints of errors and alarms as what an operator types: a command, an option, a variable."""

from __future__ import annotations

from keysat.core.hints import Hint, Hinted

COMMANDS = {
    Hint.LIST_ACCOUNTS: "`keysat provider list` shows them",
    Hint.LIST_API_KEYS: "`keysat api-key list` shows them",
    Hint.LIST_CODES: "`keysat code list` shows them",
    Hint.LIST_DELIVERIES: "`keysat webhook delivery list` shows them",
    Hint.LIST_ENDPOINTS: "`keysat webhook endpoint list` shows them",
    Hint.LIST_INVOICES: "`keysat invoice list` shows them",
    Hint.LIST_LICENSES: "`keysat license list` shows them",
    Hint.LIST_MACHINES: "`keysat machine list LICENSE` shows them",
    Hint.LIST_MAILS: "`keysat mail list` shows them",
    Hint.LIST_POLICIES: "`keysat policy list {product}` shows them",
    Hint.LIST_PRODUCTS: "`keysat product list` shows them",
    Hint.LIST_TIPS: "`keysat tip list` shows them",
    Hint.START_DATABASE: (
        "check DATABASE_URL and that the server runs, or start the embedded servers with `keysat up`"
    ),
    Hint.START_BROKER: "check BROKER_URL and that the server runs, or start the embedded servers with `keysat up`",
    Hint.UPGRADE_SCHEMA: "run `keysat db upgrade`",
    Hint.RUN_DOCTOR: "`keysat doctor` checks",
    Hint.CREATE_SIGNING_KEY: (
        "restore it from your backup (KEYSAT_SIGNING_KEY_FILE), or create one with `keysat key init` where no license "
        "was issued yet"
    ),
    Hint.RESTORE_SIGNING_KEY: "restore the file from your backup (KEYSAT_SIGNING_KEY_FILE)",
    Hint.CREATE_SECRETS_KEY: "restore it from your backup, or let `keysat key init` create one where none was used",
    Hint.RESTORE_SECRETS_KEY: "put the old key back into KEYSAT_SECRETS_KEY, after the new one",
    Hint.SET_METRICS_DIR: "correct KEYSAT_METRICS_DIR",
    Hint.SET_PUBLIC_URL: "set KEYSAT_PUBLIC_URL to an https:// address that the provider can reach",
    Hint.TRUST_AUTHORITY: "KEYSAT_CA_FILE or `keysat provider edit ACCOUNT --ca-file FILE` names it",
    Hint.ALLOW_HTTP_ENDPOINTS: (
        "KEYSAT_WEBHOOK_ALLOW_HTTP=true allows it, or your own network in KEYSAT_WEBHOOK_ALLOWED_NETWORKS"
    ),
    Hint.GIVE_NOTE: 'use --note "..."',
    Hint.GIVE_NOTE_ON_TIP: '`keysat tip retry {tip_id} --note "..."`',
    Hint.SELL_WITH_ACCOUNT: "`keysat provider add ACCOUNT` adds one, `keysat provider sell ACCOUNT` names it",
    Hint.TEST_ACCOUNT: "`keysat provider test {account}` checks its key and its webhooks",
    Hint.CONNECT_ACCOUNT: "`keysat provider connect {account}` registers one, so that payments are found at once",
    Hint.RECONNECT_ACCOUNT: (
        "check KEYSAT_PUBLIC_URL; `keysat provider connect {account}` registers the webhook again and checks that one "
        "arrives"
    ),
    Hint.PAUSE_ACCOUNT: "`keysat provider pause {account}` rests it",
    Hint.RESUME_ACCOUNT: "`keysat provider resume {account}` when it may be called again",
    Hint.RENEW_ACCOUNT: "make a new API key at the provider and enter it with `keysat provider renew {account}`",
    Hint.SHOW_ACCOUNT_ERRORS: "`keysat provider list` shows the error",
    Hint.ADD_POLICY: "see `keysat policy list {product}`, `keysat policy add {product} POLICY`",
    Hint.UNARCHIVE_PRODUCT: "it was archived, and `keysat product unarchive {product}` puts it back on sale",
    Hint.RECOUNT_CODE: "`keysat code recount {code}` corrects it",
    Hint.RECONCILE_INVOICE: (
        "`keysat invoice reconcile {invoice_id}` asks the provider again, and issues the license if it is paid"
    ),
    Hint.SETTLE_OR_DISMISS_INVOICE: (
        '`keysat invoice settle {invoice_id} --note "..."` issues the license, '
        '`keysat invoice dismiss {invoice_id} --note "..."` closes the review, as after a refund by hand'
    ),
    Hint.RESTORE_INVOICE: '`keysat invoice restore {invoice_id} --note "..."` undoes that',
    Hint.RESTORE_OR_DISMISS_INVOICE: (
        '`keysat invoice restore {invoice_id} --note "..."` undoes the reversal, '
        '`keysat invoice dismiss {invoice_id} --note "..."` leaves it'
    ),
    Hint.LIST_FAILING_INVOICES: (
        '`keysat invoice list --failing` shows them, `keysat invoice acknowledge INVOICE --note "..."` ends the alarm '
        "where nothing can be done"
    ),
    Hint.LIST_REVIEWS: "`keysat invoice list --review` shows them",
    Hint.SHOW_LICENSE: (
        "`keysat license show {license_id}` names the invoice; settle it with a note, or revoke the license"
    ),
    Hint.UNSUSPEND_LICENSE: '`keysat license unsuspend LICENSE --note "..."` lifts a suspension by hand',
    Hint.FIND_TIP_PAYMENT: (
        'see `keysat tip show {tip_id}`, then `keysat tip sent {tip_id} --note "..."` or, if it failed, '
        '`keysat tip retry {tip_id} --note "..."`'
    ),
    Hint.LIST_FAILED_TIPS: "`keysat tip list --status failed` shows them",
    Hint.LIST_HELD_TIPS: '`keysat tip list --status held`, then `keysat tip retry TIP --note "..."`',
    Hint.LIST_DEAD_LETTERS: "`keysat webhook delivery list --status failed` shows them",
    Hint.CONFIGURE_MAIL: "KEYSAT_SMTP_URL and KEYSAT_MAIL_FROM name the server and the sender",
    Hint.CORRECT_TEMPLATE: "correct the file in KEYSAT_MAIL_TEMPLATES, or remove it",
    Hint.LIST_DEAD_MAILS: (
        "`keysat mail list --status failed` shows why, `keysat mail retry MAIL` sends one again, "
        '`keysat mail drop MAIL --note "..."` ends the alarm'
    ),
    Hint.SECURE_MAIL: "use a server with STARTTLS, or smtps:// in KEYSAT_SMTP_URL",
}


class _Facts(dict[str, str]):
    """A fact that is unknown becomes a word to replace, as ACCOUNT."""

    def __missing__(self, name: str) -> str:
        return name.removesuffix("_id").upper()


def explained(message: Hinted) -> str:
    """Return the sentence with what to type next."""
    sentence = str(message)
    if message.hint is None:
        return sentence
    facts = _Facts({name: str(value) for name, value in message.facts.items()})
    command = COMMANDS[message.hint].format_map(facts)
    if sentence.endswith("?"):
        return f"{sentence} {command}."
    return f"{sentence.removesuffix('.')}; {command}{'.' if sentence.endswith('.') else ''}"
