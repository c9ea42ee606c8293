"""Messages to people: by e-mail and by webhook, tried a few times, with secrets that stand in no message."""

import logging
import os
import smtplib
import ssl
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from forge_resources.config import EmailConfig, WebhookConfig
from forge_resources.errors import ForgeError

_MAY_PASS: Final = frozenset({408, 425, 429})
_FIRST_SERVER_ERROR: Final = 500
_FIRST_PERMANENT_REPLY: Final = 500
_log = logging.getLogger(__name__)
_growing_wait: Final = wait_exponential_jitter(multiplier=0.5, max=4, jitter=0.5)


class MessageNotSentError(ForgeError, RuntimeError):
    """A message that its receiver did not take."""


class _MayPassError(Exception):
    """A try that failed for a reason that may pass."""


def send_email(config: EmailConfig, subject: str, text: str) -> None:
    """Hand a mail to the configured server.

    Raises:
        MessageNotSentError: if the password is not where the configuration says, or the server takes the mail for
            nobody; recipients that it refuses while it takes others are logged.
    """
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, config.sender, ", ".join(config.recipients)
    message.set_content(text)
    password = _secret("password", config.password_env, config.password_file) if config.user else None
    server = f"the mail server {config.host}:{config.port}"
    try:
        _retrying(config.max_attempts)(_hand_over, config, message, password)
    except _MayPassError as error:
        raise MessageNotSentError(
            f"{server} took no mail in {config.max_attempts} tries ({error}): see that it runs, or correct alerts.email"
        ) from None
    except smtplib.SMTPAuthenticationError as error:
        raise MessageNotSentError(
            f"{server} refuses user {config.user} with this password ({error.smtp_code}): correct alerts.email"
        ) from None
    except smtplib.SMTPException as error:
        raise MessageNotSentError(f"{server} refuses the mail ({_told(error)}): correct alerts.email") from None


def _hand_over(config: EmailConfig, message: EmailMessage, password: str | None) -> None:
    tls = ssl.create_default_context()
    try:
        with (
            smtplib.SMTP_SSL(config.host, config.port, timeout=config.timeout_s, context=tls)
            if config.security == "tls"
            else smtplib.SMTP(config.host, config.port, timeout=config.timeout_s)
        ) as server:
            if config.security == "starttls":
                server.starttls(context=tls)
            if config.user is not None and password is not None:
                server.login(config.user, password)
            refused = server.send_message(message)
    except (smtplib.SMTPServerDisconnected, smtplib.SMTPConnectError) as error:
        raise _MayPassError(_told(error)) from None
    except smtplib.SMTPResponseException as error:
        if error.smtp_code < _FIRST_PERMANENT_REPLY:
            raise _MayPassError(_told(error)) from None
        raise
    except smtplib.SMTPException:
        raise
    except OSError as error:
        raise _MayPassError(str(error)) from None
    if refused:
        _log.warning(
            "the mail server takes no mail for some recipients: %s", _told(smtplib.SMTPRecipientsRefused(refused))
        )


def _told(error: smtplib.SMTPException) -> str:
    match error:
        case smtplib.SMTPResponseException():
            said = error.smtp_error
            return f"{error.smtp_code} {said.decode(errors='replace') if isinstance(said, bytes) else said}"
        case smtplib.SMTPRecipientsRefused():
            replies = error.recipients.items()
            return "; ".join(f"{address}: {code} {said.decode(errors='replace')}" for address, (code, said) in replies)
        case _:
            return str(error)


def post_webhook(config: WebhookConfig, payload: Mapping[str, Any]) -> None:
    """Post a JSON document to the configured address; redirects are not followed.

    Raises:
        MessageNotSentError: if the address is not where the configuration says, or does not answer with success.
    """
    url = _secret("address", config.url_env, config.url_file)
    place = config.url_env or config.url_file
    try:
        _retrying(config.max_attempts)(_post, url, payload, config.timeout_s)
    except _MayPassError as error:
        raise MessageNotSentError(
            f"the webhook whose address is in {place} took nothing in {config.max_attempts} tries ({error}): "
            "see that it runs, or correct alerts.webhook"
        ) from None
    except httpx.HTTPStatusError as error:
        raise MessageNotSentError(
            f"the webhook whose address is in {place} refuses the message (HTTP {error.response.status_code}): "
            "correct its address"
        ) from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise MessageNotSentError(f"{place} holds no address that begins with http:// or https://") from None


def _post(url: str, payload: Mapping[str, Any], timeout_s: float) -> None:
    try:
        with _unlogged("httpx"):
            answer = httpx.post(url, json=payload, timeout=timeout_s)
    except httpx.UnsupportedProtocol:
        raise
    except httpx.TransportError as error:
        raise _MayPassError(type(error).__name__) from None
    if answer.status_code in _MAY_PASS or answer.status_code >= _FIRST_SERVER_ERROR:
        raise _MayPassError(f"HTTP {answer.status_code}")
    if not answer.is_success:
        raise httpx.HTTPStatusError("", request=answer.request, response=answer)


@contextmanager
def _unlogged(name: str) -> Generator[None]:
    """Keep a library from logging the address that it asks."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _retrying(max_attempts: int) -> Retrying:
    return Retrying(
        stop=stop_after_attempt(max_attempts),
        wait=_growing_wait,
        retry=retry_if_exception_type(_MayPassError),
        reraise=True,
    )


def _secret(what: str, variable: str | None, file: Path | None) -> str:
    """What an environment variable or a file holds, without space around it.

    Raises:
        MessageNotSentError: if it is not there or empty.
    """
    if variable is not None:
        secret, place = os.environ.get(variable, ""), f"the environment variable {variable}"
    else:
        assert file is not None
        try:
            secret, place = file.read_text(), f"the file {file}"
        except OSError as error:
            detail = error.strerror or str(error)
            raise MessageNotSentError(f"the file {file}, which is to hold the {what}: {detail}") from None
    if not secret.strip():
        raise MessageNotSentError(f"{place}, which is to hold the {what}, is not set or empty")
    return secret.strip()
