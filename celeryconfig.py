"""Celery's settings, as data. Edit this file to tune the workers.

Keysat finds it by its place beside the package, or by `KEYSAT_CELERY_CONFIG`. An installed package has its own copy.

Addresses and policies are read from the environment through `keysat.core.settings`. Comments explain why settings
differ from Celery's defaults. No paid invoice depends on these settings: PostgreSQL stores all pending work.
"""

from kombu import Exchange, Queue

from keysat.core.settings import load_settings

_settings = load_settings()
_CHECK_SECONDS = 300
_DELIVERY_SECONDS = 5
_MAIL_SECONDS = 5
_TIP_SECONDS = 30
_SWEEP_SECONDS = 60
_SUBSCRIPTION_SECONDS = 60
_PRUNE_SECONDS = 6 * 3600  # so that a stack restarted daily prunes, too

broker_url = _settings.broker_url
broker_connection_retry_on_startup = True
broker_connection_max_retries = None  # wait for the broker indefinitely
broker_pool_acquire_timeout = 5
broker_transport_options = {
    "visibility_timeout": 300,
    # Without these, a worker whose connection is half open never receives another message.
    "socket_timeout": 5,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
}

# No code reads results, and stored results grow without bound.
task_ignore_result = True
result_backend = None

accept_content = ["json"]
task_serializer = "json"
timezone = "UTC"

# A task that dies with its worker runs again, but not forever.
task_acks_late = True
task_reject_on_worker_lost = False
task_retry_on_worker_lost = True
task_soft_time_limit = 45
task_time_limit = 60

task_default_queue = "scan"
# Without a routing key of its own, every queue gets each message that is published to the exchange.
_exchange = Exchange("keysat")
task_queues = [Queue(name, _exchange, routing_key=name) for name in ("scan", "issue", "reconcile", "deliver", "tips")]
task_routes = {
    "keysat.scan_pending": {"queue": "scan"},
    "keysat.reconcile_invoice": {"queue": "reconcile"},
    "keysat.issue_license": {"queue": "issue"},
    "keysat.handle_provider_event": {"queue": "issue"},
    "keysat.recheck_account": {"queue": "reconcile"},
    "keysat.sweep_accounts": {"queue": "scan"},
    "keysat.sweep_account": {"queue": "reconcile"},
    "keysat.scan_subscriptions": {"queue": "scan"},
    "keysat.scan_deliveries": {"queue": "deliver"},
    "keysat.deliver_webhook": {"queue": "deliver"},
    "keysat.scan_mails": {"queue": "deliver"},
    "keysat.deliver_mail": {"queue": "deliver"},
    "keysat.scan_tips": {"queue": "tips"},
    "keysat.pay_tip": {"queue": "tips"},
    "keysat.prune": {"queue": "scan"},
    "keysat.check_invariants": {"queue": "scan"},
}

worker_prefetch_multiplier = 1
worker_eta_task_limit = 100
worker_max_tasks_per_child = 2000
worker_soft_shutdown_timeout = 30
worker_cancel_long_running_tasks_on_connection_loss = True
worker_hijack_root_logger = False

beat_max_loop_interval = min(5, _settings.scan_seconds)
beat_scheduler = "keysat.tasks.beat:SteadyScheduler"  # in memory: a stored schedule can be corrupt or from the future
beat_schedule = {
    "scan-pending": {
        "task": "keysat.scan_pending",
        "schedule": _settings.scan_seconds,
        "options": {"expires": _settings.scan_seconds},  # a tick that wasn't run in time is useless
    },
    "scan-deliveries": {
        "task": "keysat.scan_deliveries",
        "schedule": _DELIVERY_SECONDS,
        "options": {"expires": _DELIVERY_SECONDS},
    },
    "scan-mails": {"task": "keysat.scan_mails", "schedule": _MAIL_SECONDS, "options": {"expires": _MAIL_SECONDS}},
    "sweep-accounts": {
        "task": "keysat.sweep_accounts",
        "schedule": _SWEEP_SECONDS,
        "options": {"expires": _SWEEP_SECONDS},
    },
    "scan-subscriptions": {
        "task": "keysat.scan_subscriptions",
        "schedule": _SUBSCRIPTION_SECONDS,
        "options": {"expires": _SUBSCRIPTION_SECONDS},
    },
    "scan-tips": {"task": "keysat.scan_tips", "schedule": _TIP_SECONDS, "options": {"expires": _TIP_SECONDS}},
    "prune": {"task": "keysat.prune", "schedule": _PRUNE_SECONDS, "options": {"expires": _PRUNE_SECONDS}},
    "check-invariants": {
        "task": "keysat.check_invariants",
        "schedule": _CHECK_SECONDS,
        "options": {"expires": _CHECK_SECONDS},
    },
}
