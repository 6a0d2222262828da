"""Fifty processes race to issue one license, over and over."""

from sqlalchemy import func, select

from keysat.core.db import reading
from keysat.core.settings import load_settings
from keysat.licenses.signer import load_signer
from keysat.models import License
from tests.bench.bar import Bar
from tests.races import RACERS, race_to_issue

ROUNDS = 200


def licenses_a_round() -> Bar:
    """Licenses there are after the race, to its rounds."""
    print(f"{RACERS} processes racing for {ROUNDS} licenses ...", flush=True)
    issued, surprises = race_to_issue(ROUNDS, load_signer(load_settings().signing_key_file).key_id)
    with reading() as session:
        stored = session.scalar(select(func.count()).select_from(License)) or 0
    figures = f"{RACERS} processes, {ROUNDS} rounds: {issued} issued, {stored} stored, {len(surprises)} errors"
    ratio = stored / ROUNDS if issued == stored and not surprises else 0.0
    return Bar("licenses to settled invoices", ratio, figures, at_most=1.0, at_least=1.0)
