"""One message is handed to a mail server, within a deadline, encrypted, and with an error that tells what to do."""

import socket
import threading
from contextlib import suppress
from dataclasses import replace

import pytest

from keysat.core.hints import Hint
from keysat.core.mailbox import parse_mailbox
from keysat.net import smtp
from keysat.net.smtp import SmtpServer, is_local
from keysat.net.smtp_failed import SmtpFailed
from tests.mail.server import CUT, HANG, MailServer
from tests.net.test_certificates import Authority

ME, YOU = parse_mailbox("licenses@shop.example"), parse_mailbox("buyer@example.com")
MESSAGE = b"Subject: hello\r\n\r\n.a line that begins with a dot\r\n"
# The stage of a failure at each stage of the mail server.
STAGES = {"connect": "connect", "mail": "sender", "rcpt": "recipient", "data": "confirmation", "taken": "confirmation"}


@pytest.fixture
def start_server():
    """Starts mail servers as told."""
    started = []

    def start(*arguments, **options):
        started.append(MailServer(*arguments, **options))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def other_machine(monkeypatch):
    """No server is taken for one on this machine."""
    monkeypatch.setattr(smtp, "is_local", lambda address: False)


def server_at(url, deadline=10.0, ca_file=None):
    return SmtpServer.of_url(url, "shop.example", deadline, ca_file)


def send_to(server, **options):
    return server_at(server.url, **options).send(ME, YOU, MESSAGE)


def failure_of(server, **options):
    with pytest.raises(SmtpFailed) as failed:
        send_to(server, **options)
    return failed.value


def test_message_arrives_byte_for_byte(start_server):
    server = start_server()
    assert send_to(server) == "250 queued as 1234"
    [taken] = server.taken
    assert (taken.sender, taken.recipients, taken.content) == (ME.address, [YOU.address], MESSAGE)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example.com", ("mail.example.com", 587, False, None, None)),
        ("smtps://mail.example.com", ("mail.example.com", 465, True, None, None)),
        ("smtp://me%40x.example:p%2Fw@[::1]:25", ("::1", 25, False, "me@x.example", "p/w")),
    ],
)
def test_server_of_url(url, expected):
    server = server_at(url)
    assert (server.host, server.port, server.implicit_tls, server.user, server.password) == expected
    assert "p/w" not in str(server)


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::1%1", True),
        ("10.0.0.1", False),
        ("192.168.1.1", False),
        ("169.254.0.1", False),
        ("128.0.0.1", False),
        ("::2", False),
        ("fe80::1%1", False),
    ],
)
def test_only_loopback_is_local(address, local):
    assert is_local(address) is local


@pytest.fixture
def authority_file(tmp_path):
    """The certificate of the authority that signs those of `secure_server`."""
    return tmp_path / "ca.pem"


@pytest.fixture
def secure_server(start_server, authority_file, tmp_path):
    """Starts a mail server with TLS and a login, by a URL's scheme. Returns it, and the URL with the login."""

    def start(scheme, **certificate):
        authority = Authority()
        authority_file.write_text(authority.pem)
        option = {"smtp": "tls", "smtps": "implicit_tls"}[scheme]
        context = authority.server_context(tmp_path, **certificate)
        server = start_server(**{option: context}, login=("me", "secret"))
        return server, f"{scheme}://me:secret@127.0.0.1:{server.port}"

    return start


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_other_machine_is_reached_encrypted(secure_server, other_machine, authority_file, scheme):
    """With a trusted certificate, and the password is sent after that."""
    server, url = secure_server(scheme)
    assert server_at(url, ca_file=authority_file).send(ME, YOU, MESSAGE) == "250 queued as 1234"
    assert server.logins == [("me", "secret")]
    assert [taken.content for taken in server.taken] == [MESSAGE]
    assert server_at(url, ca_file=authority_file).probe() == f"127.0.0.1:{server.port} takes mail over TLS from me"


@pytest.mark.parametrize(("scheme", "stage"), [("smtp", "starttls"), ("smtps", "connect")])
@pytest.mark.parametrize(("trusted", "certificate"), [(False, {}), (True, {"address": "127.0.0.2"})])
def test_untrusted_certificate_is_named(
    secure_server, other_machine, authority_file, scheme, stage, trusted, certificate
):
    """Of an unknown authority, or of another server. Neither the password nor the message is sent."""
    server, url = secure_server(scheme, **certificate)
    with pytest.raises(SmtpFailed, match="has a certificate that isn't trusted") as failed:
        server_at(url, ca_file=authority_file if trusted else None).send(ME, YOU, MESSAGE)
    assert (failed.value.stage, failed.value.hint) == (stage, Hint.TRUST_AUTHORITY)
    assert not failed.value.of_this_message
    assert (server.logins, server.taken) == ([], [])


def test_nothing_is_sent_without_starttls(start_server, other_machine):
    server = start_server(login=("me", "secret"))
    server_with_login = server_at(server.url.replace("smtp://", "smtp://me:secret@"))
    with pytest.raises(SmtpFailed, match="offers no STARTTLS, so nothing was sent") as failed:
        server_with_login.send(ME, YOU, MESSAGE)
    assert (failed.value.stage, failed.value.hint) == ("starttls", Hint.SECURE_MAIL)
    assert (server.logins, server.taken) == ([], [])


def test_wrong_password_is_no_fault_of_the_message(start_server):
    server = start_server(login=("me", "secret"))
    with pytest.raises(SmtpFailed, match="refuses the password: 535") as failed:
        server_at(server.url.replace("smtp://", "smtp://me:wrong@")).send(ME, YOU, MESSAGE)
    assert (failed.value.stage, failed.value.of_this_message) == ("login", False)


@pytest.mark.parametrize(
    ("at", "reply", "of_this_message", "permanent"),
    [
        ("mail", "550 who are you", False, False),
        ("rcpt", "451 4.7.1 greylisted, try later", True, False),
        ("rcpt", "550 5.1.1 no such user", True, True),
        ("rcpt", "421 too busy", False, False),
        ("data", "452 too many", True, False),
        ("data", "554 5.7.1 spam", True, True),
    ],
)
def test_refusal_counts_where_it_belongs(start_server, at, reply, of_this_message, permanent):
    server = start_server(lambda stage, _: reply if stage == at else None)
    failed = failure_of(server)
    assert (failed.of_this_message, failed.permanent) == (of_this_message, permanent)
    assert (failed.stage, failed.code) == (STAGES[at], int(reply[:3]))
    assert reply in str(failed)
    assert server.taken == []


@pytest.mark.parametrize("at", STAGES)
def test_cut_counts_only_after_the_message(start_server, at):
    """Without a reply nobody knows whether it was taken, so it is no refusal for good."""
    server = start_server(lambda stage, _: CUT if stage == at else None)
    failed = failure_of(server)
    assert (failed.stage, failed.code, failed.permanent) == (STAGES[at], None, False)
    assert failed.of_this_message == (at in {"data", "taken"})
    assert len(server.taken) == (at == "taken")


@pytest.mark.parametrize(("at", "noun"), [("mail", "sender"), ("rcpt", "recipient")])
def test_hanging_server_is_left_at_the_deadline(start_server, at, noun):
    server = start_server(lambda stage, _: HANG if stage == at else None)
    failed = failure_of(server, deadline=0.3)
    assert f"took longer than 0.3 s for the {noun}" in str(failed)
    assert (failed.stage, failed.code, failed.of_this_message) == (STAGES[at], None, False)


@pytest.mark.parametrize("at", ["data", "taken"])
def test_reply_to_a_message_has_a_deadline_of_its_own(start_server, at):
    server = start_server(lambda stage, _: HANG if stage == at else None)
    with pytest.raises(SmtpFailed, match=r"took longer than 0\.3 s for the message") as failed:
        replace(server_at(server.url), confirm_within=0.3).send(ME, YOU, MESSAGE)
    assert (failed.value.stage, failed.value.of_this_message) == (STAGES[at], True)


@pytest.mark.slow
def test_reply_to_a_message_may_take_longer_than_all_before(start_server):
    """Both the time of a read and the watchdog's begin anew."""
    server = start_server(lambda stage, _: 5.0 if stage == "taken" else None)
    assert send_to(server, deadline=4.0) == "250 queued as 1234"


def test_server_may_refuse_before_the_message_is_sent(start_server):
    server = start_server()
    server.answer = lambda stage, _: "250 OK" if stage == "rcpt" else None  # an answer that keeps no recipient
    failed = failure_of(server)
    assert (failed.stage, failed.code, server.taken) == ("message", 503, [])


@pytest.mark.slow
def test_deadline_is_for_all_stages_together(start_server):
    """Each stage takes less than the deadline, and those up to the end of the message more."""
    server = start_server(lambda stage, _: 1.2 if stage in {"mail", "rcpt"} else None)
    assert "took longer than 2 s" in str(failure_of(server, deadline=2.0))


@pytest.fixture
def raw_server():
    """Starts servers from a function, which speaks on one connection until it returns or an event is set."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()
    threads = []

    def start(speak, scheme="smtp", deadline=2.0):
        def serve():
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                speak(connection, over)

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return server_at(f"{scheme}://me:secret@127.0.0.1:{listener.getsockname()[1]}", deadline)

    yield start
    over.set()
    for thread in threads:
        thread.join()
    listener.close()


def endlessly(said, every=0.0):
    """Speaks fixed bytes again and again."""

    def speak(connection, over):
        while not over.wait(every):
            connection.sendall(said)

    return speak


def then_silent(*replies):
    """Speaks each reply when it is its turn, and nothing after the last one."""

    def speak(connection, over):
        for number, reply in enumerate(replies):
            if number and not connection.recv(4_096):
                return
            connection.sendall(reply)
        over.wait()

    return speak


def test_endless_reply_is_bounded(raw_server):
    with pytest.raises(SmtpFailed, match="it said more than 65,536 bytes"):
        raw_server(endlessly(b"220-" + b"x" * 500 + b"\r\n"), deadline=60.0).send(ME, YOU, MESSAGE)


@pytest.mark.slow
def test_drip_ends_at_the_deadline(raw_server):
    with pytest.raises(SmtpFailed, match="took longer than 2 s for the connection"):
        raw_server(endlessly(b"2", every=0.05)).send(ME, YOU, MESSAGE)


@pytest.mark.parametrize(
    ("scheme", "replies", "stage", "noun"),
    [
        ("smtp", (), "connect", "connection"),
        ("smtps", (), "connect", "connection"),
        ("smtp", (b"220 hello\r\n",), "connect", "connection"),
        ("smtp", (b"220 hello\r\n", b"250-here\r\n250 STARTTLS\r\n"), "starttls", "encryption"),
        ("smtp", (b"220 hello\r\n", b"250-here\r\n250 STARTTLS\r\n", b"220 go\r\n"), "starttls", "encryption"),
    ],
    ids=["greeting", "handshake", "hello", "starttls", "starttls handshake"],
)
def test_silence_before_the_mail_ends_at_the_deadline(raw_server, other_machine, scheme, replies, stage, noun):
    with pytest.raises(SmtpFailed, match=f"took longer than 0.3 s for the {noun}") as failed:
        raw_server(then_silent(*replies), scheme, deadline=0.3).send(ME, YOU, MESSAGE)
    assert failed.value.stage == stage


def test_silence_after_the_password_ends_at_the_deadline(raw_server):
    speak = then_silent(b"220 hello\r\n", b"250-here\r\n250 AUTH PLAIN\r\n")
    with pytest.raises(SmtpFailed, match=r"took longer than 0\.3 s for the password") as failed:
        raw_server(speak, deadline=0.3).send(ME, YOU, MESSAGE)
    assert failed.value.stage == "login"


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(SmtpFailed, match="failed at the connection") as failed:
        server_at(f"smtp://127.0.0.1:{port}").send(ME, YOU, MESSAGE)
    assert failed.value.stage == "connect"


def test_letters_before_the_at_need_a_server_that_takes_them(start_server):
    recipient = parse_mailbox("jürgen@bücher.example")
    server = start_server()
    server_at(server.url).send(ME, recipient, MESSAGE)
    assert server.taken[0].recipients == ["jürgen@xn--bcher-kva.example"]
    with pytest.raises(SmtpFailed, match="takes no letters") as failed:
        server_at(start_server(utf8=False).url).send(ME, recipient, MESSAGE)
    assert failed.value.permanent
