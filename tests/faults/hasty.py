"""Keysat's app with everything six times as fast: a tick each 2.5 s, and claims that lapse after 5 s.

The environment can also set the workers' clocks wrong, record calls, and let processes die at a named point.
"""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import time_machine

from keysat.invoices import schedule

SPEED = 6
TICK, LAPSE = 15 / SPEED, 30 / SPEED

schedule.UNFULFILLED /= SPEED
schedule.STEPS = {
    status: tuple(replace(step, every=step.every / SPEED) for step in steps) for status, steps in schedule.STEPS.items()
}

from keysat.accounts import breaker, inbox
from keysat.invoices import draft
from keysat.mail import mail_queue, owe
from keysat.settlement import backlog, failed_check, sweep
from keysat.tips import bolt11, due
from keysat.webhooks import delivery_queue

backlog.LEASE /= SPEED
sweep.LEASE = backlog.LEASE
draft.IN_PROGRESS /= SPEED
breaker.COOL_DOWN /= SPEED
failed_check._ERROR_BACKOFF_SECONDS /= SPEED
inbox.FIRST_RETRY /= SPEED
delivery_queue.LEASE /= SPEED
delivery_queue.DELAYS = tuple(delay / SPEED for delay in delivery_queue.DELAYS)
mail_queue.LEASE /= SPEED
mail_queue.TROUBLE_SECONDS /= 10 * SPEED  # a second
mail_queue.DELAYS = tuple(delay / (10 * SPEED) for delay in mail_queue.DELAYS)
owe.SEEN_AFTER /= SPEED
due.CLAIM, due.LOOK_UP_AGAIN, due._FIRST_WAIT = timedelta(seconds=LAPSE), timedelta(seconds=1), LAPSE
bolt11._MIN_LIFE = due.TO_SPARE = timedelta(seconds=1)

from keysat.tasks.app import app

# A tick's message lives as long as Keysat's. A sixth of it is 0.8 s for the scan of deliveries, and a machine that is
# busy for longer would lose one tick after the other.
for entry in app.conf.beat_schedule.values():
    entry["schedule"] /= SPEED

if visible_for := os.environ.get("FAULTS_VISIBILITY_SECONDS"):
    app.conf.broker_transport_options = {
        **app.conf.broker_transport_options,
        "visibility_timeout": float(visible_for),
        "unacked_restore_limit": None,
    }
if clock_off := os.environ.get("FAULTS_CLOCK_OFF_SECONDS"):
    time_machine.travel(datetime.now(UTC) + timedelta(seconds=float(clock_off)), tick=True).start()
if crash_plan := os.environ.get("FAULTS_CRASH_PLAN"):
    from tests.faults.crash_points import install

    install(crash_plan)
if call_record := os.environ.get("FAULTS_CALL_RECORD"):
    from tests.faults.calls import record_calls

    record_calls(call_record)

__all__ = ["app"]
