"""Servers with certificates of an authority of the operator's own: trusted where it is named, and never unverified."""

import ssl

import pytest

from keysat.core.errors import InvalidInput, RemoteUnavailable, SettingsError
from keysat.net.addresses import Networks
from keysat.net.certificates import check_pem, tls_context
from keysat.net.client import HttpClient
from keysat.net.untrusted import UntrustedClient
from tests.authority import Authority
from tests.providers.servers import raw_server, read_request, whole_answer


@pytest.fixture
def authority():
    return Authority()


def serving(context):
    """A server that responds to one request over TLS."""

    def talk(connection, server):
        try:
            with context.wrap_socket(connection, server_side=True) as secure:
                if read_request(secure) is not None:
                    secure.sendall(whole_answer(b'{"ok": true}', 200))
        except OSError:
            return  # the client didn't trust us

    return raw_server(talk)


def secure_url(server):
    return server.url.replace("http://", "https://")


def provider_client(url, **facts):
    return HttpClient(url, {}, deadline=5, max_bytes=1_000, name="The server", **facts)


def test_authority_of_an_account_is_trusted_and_no_other_is(authority, tmp_path):
    with serving(authority.server_context(tmp_path)) as server:
        url = secure_url(server)
        assert provider_client(url, tls=tls_context(None, authority.pem)).get("/").json == {"ok": True}
        for tls in (None, tls_context(None, Authority().pem)):
            with pytest.raises(
                RemoteUnavailable, match=r"certificate that isn't trusted \(.*self-signed|unable to get"
            ):
                provider_client(url, tls=tls).get("/")


def test_call_adds_no_authority(authority, tmp_path):
    """Reading a bundle costs more than the call."""
    own = ssl.create_default_context(cadata=authority.pem)
    before = own.cert_store_stats()
    with serving(authority.server_context(tmp_path)) as server:
        assert provider_client(secure_url(server), tls=own).get("/").json == {"ok": True}
    assert own.cert_store_stats() == before


def test_system_without_authorities_trusts_the_public_ones(tmp_path, monkeypatch):
    (tmp_path / "none.pem").touch()
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert tls_context.__wrapped__().cert_store_stats()["x509_ca"] > 50


def test_receivers_are_trusted_by_the_operators_file(authority, tmp_path):
    (tmp_path / "ca.pem").write_text(authority.pem)
    own = Networks.parse("127.0.0.0/8")
    with serving(authority.server_context(tmp_path)) as server:
        client = UntrustedClient(own, deadline=5, max_bytes=100, ca_file=tmp_path / "ca.pem")
        assert client.request("GET", secure_url(server)).status == 200
        with pytest.raises(RemoteUnavailable, match="certificate that isn't trusted"):
            UntrustedClient(own, deadline=5, max_bytes=100).request("GET", secure_url(server))


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"])
def test_authorities_of_the_environment_are_trusted(authority, tmp_path, monkeypatch, variable):
    (tmp_path / "ca.pem").write_text(authority.pem)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "ca.pem"))
    with serving(authority.server_context(tmp_path)) as server:
        fresh = tls_context.__wrapped__()
        assert provider_client(secure_url(server), tls=fresh).get("/").json == {"ok": True}


@pytest.mark.parametrize(
    ("facts", "problem"), [({"days": -1}, "expired"), ({"address": "127.9.9.9"}, "IP address mismatch")]
)
def test_sentence_names_what_is_wrong_with_the_certificate(authority, tmp_path, facts, problem):
    server = serving(authority.server_context(tmp_path, **facts))
    with server as running, pytest.raises(RemoteUnavailable, match=problem):
        provider_client(secure_url(running), tls=tls_context(None, authority.pem)).get("/")


@pytest.mark.parametrize("text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"])
def test_text_that_holds_no_certificate_is_refused(text):
    with pytest.raises(InvalidInput, match="PEM"):
        check_pem(text)


def test_private_key_is_refused():
    with pytest.raises(InvalidInput, match="private key"):
        check_pem("-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----")


def test_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SettingsError, match="nothing-here"):
        tls_context(tmp_path / "nothing-here")
