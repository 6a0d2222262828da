"""A mail server that is down, slow, greylisting and cutting in turns, while licenses are issued and undone."""

import time
from collections import defaultdict
from email import message_from_bytes
from email.policy import SMTP
from itertools import cycle

from keysat.licenses.keys import verify
from keysat.licenses.signer import load_signer
from tests.faults.report import Report, judged
from tests.faults.world import World
from tests.mail.letters import key_in
from tests.mail.server import CUT, MailServer
from tests.nodes import wait_until

SLOW_SECONDS = 1.0
# The last waits of a mail that was greylisted a few times, at the speed of these tests, and a claim that lapses.
SENT_AFTER, SECONDS_A_MAIL = 60.0, 0.1
_UNDONE = """
CREATE SEQUENCE oracle.undone;
CREATE FUNCTION oracle.undo() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF random() < 0.2 THEN
        PERFORM nextval('oracle.undone');
        RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER undo AFTER INSERT ON mails DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION oracle.undo();
"""
_NOT_UNDONE = "DROP TRIGGER undo ON mails; DROP SEQUENCE oracle.undone; DROP FUNCTION oracle.undo;"
_HOW_OFTEN = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM oracle.undone"
_MAILS = """
SELECT m.message_id, m.recipient, l.id::text
FROM mails m JOIN licenses l ON l.id = m.subject_id WHERE m.kind = 'receipt'
"""


class Moods:
    """What the mail server does at present, and how often it did it."""

    ALL = ("down", "slow", "greylisting", "cutting")

    def __init__(self, world: World) -> None:
        self.mood, self.times = "", dict.fromkeys(self.ALL[1:], 0)
        self._random, self._seen = world.random, set()

    def answer(self, stage, detail):
        """Reply as the mood is. `down` is the server itself, which doesn't listen."""
        if self.mood == "slow" and stage == "rcpt":
            self.times["slow"] += 1
            return SLOW_SECONDS
        if self.mood == "cutting" and stage != "connect" and self._random.random() < 0.3:
            self.times["cutting"] += 1
            return CUT
        if self.mood == "greylisting" and stage == "rcpt" and detail not in self._seen:
            self._seen.add(detail)
            self.times["greylisting"] += 1
            return "451 4.7.1 greylisted"
        return None


def trouble_mail(world: World, licenses: int, kills: int) -> Report:
    """Kill the sender after each batch of payments, and let one in five licenses be undone at its commit."""
    moods = Moods(world)
    server = MailServer(moods.answer)
    try:
        _start(world, server)
        with world.oracle.query() as cursor:
            cursor.execute(_UNDONE)
        for number, mood in zip(range(kills), cycle(Moods.ALL), strict=False):
            _live_through(world, server, moods, mood, licenses * (number + 1) // kills - licenses * number // kills)
        undone = world.oracle.count(_HOW_OFTEN)
        moods.mood = ""
        with world.oracle.query() as cursor:
            cursor.execute(_NOT_UNDONE)
        ended = time.monotonic()
        world.recover(ended)
        wait_until(lambda: world.oracle.count("SELECT count(*) FROM mails WHERE status <> 'sent'") == 0, timeout=900)
        seconds = time.monotonic() - ended
        report = judged("mail server in trouble, sender killed", kills, world, seconds, within=None)
        report.within("all mails sent after its end within", seconds, SENT_AFTER + licenses * SECONDS_A_MAIL)
        report.at_least("licenses undone at their commit", undone, 1)
        for mood, times in moods.times.items():
            report.at_least(f"times {mood}", times, 1)
        report.breaches += _breaches(world, server)
        # Only a cut connection or a killed sender may lead to a second copy.
        report.at_most("second copies", _copies(server), 4 * kills + moods.times["cutting"])
        return report
    finally:
        world.close()
        server.close()


def _start(world: World, server: MailServer) -> None:
    mail = {"KEYSAT_SMTP_URL": server.url, "KEYSAT_MAIL_FROM": "The shop <licenses@shop.example>"}
    world.worker(queues="scan,issue,reconcile,tips", **mail)
    world.worker("sender", concurrency=4, queues="deliver", **mail)
    world.beat()
    world.web(**mail)


def _live_through(world: World, server: MailServer, moods: Moods, mood: str, batch: int) -> None:
    """Sell a batch while the server is in a mood, and kill the sender in the middle of it."""
    moods.mood = mood
    if mood == "down":
        server.stop_listening()
    before, times = world.paid, moods.times.get(mood, 0)
    world.sell(batch)
    wait_until(lambda: world.oracle.licenses() > before + batch // 2, timeout=300)
    wait_until(lambda: mood == "down" or moods.times[mood] > times, timeout=300)
    time.sleep(world.random.uniform(0, 2))
    if not (world.random.random() < 0.5 and world.kill_child("sender")):
        world.kill("sender")
        world.await_worker("sender")
    if mood == "down":
        server.listen_again()


def _breaches(world: World, server: MailServer) -> list[str]:
    """What must never be: a mail without a license or twice different, a license without one, another buyer's key."""
    bodies = defaultdict(set)
    for taken in server.taken:
        bodies[message_from_bytes(taken.content, policy=SMTP)["Message-ID"]].add((*taken.recipients, taken.content))
    with world.oracle.query() as cursor:
        cursor.execute(_MAILS)
        wanted = {message_id: (recipient, license_id) for message_id, recipient, license_id in cursor.fetchall()}
    licenses, public_key = world.oracle.licenses(), load_signer(world.settings.signing_key_file).public_key
    found = {
        f"{licenses} licenses and {len(wanted)} receipts": licenses != len(wanted),
        f"{len(wanted.keys() - bodies)} receipts never arrived": wanted.keys() - bodies,
        f"{len(bodies.keys() - wanted)} mails of licenses that were undone": bodies.keys() - wanted,
        "one Message-ID with several bodies": any(len(copies) > 1 for copies in bodies.values()),
        "a mail with another's key": any(
            _of(copies, public_key) != wanted.get(name) for name, copies in bodies.items()
        ),
    }
    return [what for what, is_so in found.items() if is_so]


def _of(copies, public_key) -> tuple[str, str]:
    """The recipient of a mail and the id of the license whose key it brings."""
    recipient, content = next(iter(copies))
    text = message_from_bytes(content, policy=SMTP).get_body(("plain",)).get_content()
    return recipient, str(verify(key_in(text), public_key).license_id)


def _copies(server: MailServer) -> int:
    return len(server.taken) - len({taken.content for taken in server.taken})
