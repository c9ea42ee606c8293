"""Mails and webhook messages, to real servers on this machine."""

import datetime as dt
import ipaddress
import logging
import ssl
from collections.abc import Callable
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_none

from forge_resources import messengers
from forge_resources.config import EmailConfig, WebhookConfig
from forge_resources.messengers import MessageNotSentError, post_webhook, send_email

PEOPLE = ("ops@example.org", "data@example.org")
PAYLOAD = {"text": "1 run failed.\n", "runs": []}


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messengers, "_growing_wait", wait_none())


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """What a server on 127.0.0.1 identifies itself by; OpenSSL trusts it in this test."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    of_key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(of_key + certificate.public_bytes(serialization.Encoding.PEM))
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context


def to(server: Any, **settings: Any) -> EmailConfig:
    return EmailConfig.model_validate(
        {"host": server.host, "port": server.port, "security": "none", "sender": "forge@example.org"}
        | {"recipients": PEOPLE}
        | settings
    )


def hook(**settings: Any) -> WebhookConfig:
    return WebhookConfig.model_validate({"url_env": "HOOK"} | settings)


# --- e-mail


def test_a_mail_goes_to_all_recipients_with_subject_and_text(start_mail_server: Callable[..., Any]) -> None:
    server = start_mail_server()
    send_email(to(server), "Failed: photos/s00000", "raw_images_gate: ein Foto fehlt: ünlesbar\n")
    (envelope,) = server.mails
    mail = message_from_bytes(envelope.content, policy=default)
    assert (envelope.mail_from, tuple(envelope.rcpt_tos)) == ("forge@example.org", PEOPLE)
    assert (mail["Subject"], mail["To"]) == ("Failed: photos/s00000", ", ".join(PEOPLE))
    assert mail.get_content().replace("\r\n", "\n") == "raw_images_gate: ein Foto fehlt: ünlesbar\n"


def test_a_password_is_sent_under_tls(
    start_mail_server: Callable[..., Any], tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_mail_server(tls_context=tls, require_starttls=True, auth_required=True)
    monkeypatch.setenv("MAIL_PASSWORD", server.password)
    send_email(to(server, security="starttls", user=server.user, password_env="MAIL_PASSWORD"), "subject", "text")
    assert len(server.mails) == 1


def test_a_password_may_lie_in_a_file(
    start_mail_server: Callable[..., Any], tls: ssl.SSLContext, tmp_path: Path
) -> None:
    server = start_mail_server(tls_context=tls, require_starttls=True, auth_required=True)
    (tmp_path / "password").write_text(f"{server.password}\n")
    config = to(server, security="starttls", user=server.user, password_file=tmp_path / "password")
    send_email(config, "subject", "text")
    assert len(server.mails) == 1


def test_a_server_whose_certificate_nobody_trusts_gets_no_mail(
    start_mail_server: Callable[..., Any], tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_mail_server(tls_context=tls)
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(MessageNotSentError, match="certificate verify failed"):
        send_email(to(server, security="starttls"), "subject", "text")
    assert server.mails == []


def test_a_wrong_password_is_refused_at_once_and_not_quoted(
    start_mail_server: Callable[..., Any], tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_mail_server(tls_context=tls, require_starttls=True, auth_required=True)
    monkeypatch.setenv("MAIL_PASSWORD", wrong := "wrong-and-still-a-secret")
    config = to(server, security="starttls", user=server.user, password_env="MAIL_PASSWORD")
    with pytest.raises(MessageNotSentError, match=r"refuses user forge with this password \(535\)") as raised:
        send_email(config, "subject", "text")
    assert wrong not in str(raised.value)


def test_a_mail_server_that_is_busy_is_asked_again(start_mail_server: Callable[..., Any]) -> None:
    server = start_mail_server()
    server.replies = ["451 come back later"]
    send_email(to(server), "subject", "text")
    assert len(server.mails) == 1


def test_a_mail_that_is_refused_for_good_is_not_sent_again(start_mail_server: Callable[..., Any]) -> None:
    server = start_mail_server()
    server.replies = ["554 no such mail here", "451 not reached"]
    with pytest.raises(MessageNotSentError, match=r"refuses the mail.*554 no such mail here"):
        send_email(to(server), "subject", "text")
    assert server.replies == ["451 not reached"]


def test_a_mail_that_some_take_counts_as_sent_and_the_others_are_logged(
    start_mail_server: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    server = start_mail_server()
    send_email(to(server, recipients=["nobody@example.org", "ops@example.org"]), "subject", "text")
    assert [envelope.rcpt_tos for envelope in server.mails] == [["ops@example.org"]]
    assert "nobody@example.org: 550 no such user" in caplog.text


def test_a_mail_that_nobody_takes_is_an_error(start_mail_server: Callable[..., Any]) -> None:
    server = start_mail_server()
    with pytest.raises(MessageNotSentError, match=r"nobody@example\.org: 550 no such user"):
        send_email(to(server, recipients=["nobody@example.org"]), "subject", "text")


def test_a_mail_server_that_is_down_is_named(free_port: Callable[[], int]) -> None:
    config = EmailConfig(host="127.0.0.1", port=free_port(), sender="forge@example.org", recipients=PEOPLE)
    with pytest.raises(MessageNotSentError, match=rf"127.0.0.1:{config.port} took no mail in 3 tries .*refused"):
        send_email(config, "subject", "text")


# --- webhook


def test_a_message_is_posted_as_json(webhook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", webhook.url)
    post_webhook(hook(), PAYLOAD)
    assert webhook.heard == [PAYLOAD]


def test_the_address_may_lie_in_a_file(webhook: Any, tmp_path: Path) -> None:
    (tmp_path / "address").write_text(f"{webhook.url}\n")
    post_webhook(WebhookConfig(url_file=tmp_path / "address"), PAYLOAD)
    assert webhook.heard == [PAYLOAD]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_webhook_that_may_recover_is_asked_again(webhook: Any, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    monkeypatch.setenv("HOOK", webhook.url)
    webhook.statuses = [status, status]
    post_webhook(hook(), PAYLOAD)
    assert len(webhook.heard) == 3


@pytest.mark.parametrize("status", [302, 400, 404, 410])
def test_a_webhook_that_refuses_is_asked_once(webhook: Any, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    monkeypatch.setenv("HOOK", webhook.url)
    webhook.statuses = [status]
    with pytest.raises(MessageNotSentError, match=rf"in HOOK refuses the message \(HTTP {status}\)"):
        post_webhook(hook(), PAYLOAD)
    assert len(webhook.heard) == 1


def test_the_address_stands_in_no_error_and_no_log(
    webhook: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, free_port: Callable[[], int]
) -> None:
    secret = webhook.url.rpartition("/")[2]
    with caplog.at_level(logging.DEBUG):
        monkeypatch.setenv("HOOK", webhook.url)
        post_webhook(hook(), PAYLOAD)
        webhook.statuses = [404, *[503] * 3]
        for url in (webhook.url, webhook.url, f"http://127.0.0.1:{free_port()}/{secret}", f"gopher://{secret}", secret):
            monkeypatch.setenv("HOOK", url)
            with pytest.raises(MessageNotSentError) as raised:
                post_webhook(hook(), PAYLOAD)
            assert secret not in str(raised.value)
            assert raised.value.__suppress_context__ or raised.value.__context__ is None
    assert secret not in caplog.text


@pytest.mark.parametrize("value", ["", " \n", None])
def test_an_address_that_is_not_there_is_named(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK", raising=False)
    if value is not None:
        monkeypatch.setenv("HOOK", value)
    with pytest.raises(MessageNotSentError, match=r"the environment variable HOOK, .* is not set or empty"):
        post_webhook(hook(), PAYLOAD)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MessageNotSentError, match="absent, which is to hold the address: No such file"):
        post_webhook(WebhookConfig(url_file=tmp_path / "absent"), PAYLOAD)
