"""The yardstick: our web server with one more route, which makes one indexed read and nothing else."""

from uuid import UUID

from fastapi import FastAPI
from sqlalchemy import bindparam, select

from keysat.core.db import reading
from keysat.models import License
from keysat.web import app

_licenses = License.__table__.c
_READ = select(
    _licenses.id,
    _licenses.product_id,
    _licenses.status,
    _licenses.is_trial,
    _licenses.max_machines,
    _licenses.grace_seconds,
    _licenses.entitlements,
    _licenses.source,
    _licenses.issued_at,
    _licenses.signer,
).where(_licenses.id == bindparam("license_id"))


def create_app() -> FastAPI:
    """Keysat's application, and the bare route."""
    application = app.create_app()
    application.get("/bare/{license_id}")(bare)
    return application


def bare(license_id: UUID) -> dict[str, object]:
    """Read a row by its primary key, and give it."""
    with reading() as session:
        row = session.execute(_READ, {"license_id": license_id}).one()
    return dict(row._mapping)
