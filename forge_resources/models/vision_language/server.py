"""A vision-language model behind an OpenAI-compatible server, such as vLLM."""

import base64
import io
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import httpx
from PIL import Image
from pydantic import BaseModel, Field, ValidationError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from forge_resources.config import VisionLanguageConfig
from forge_resources.models.devices import UnsupportedSettingError
from forge_resources.models.vision_language.base import Request, VisionLanguageError
from forge_resources.sources.downloads.attempts import retry_after_s

_JPEG_QUALITY: Final = 95
_SEED: Final = 0
_LONGEST_WAIT_S: Final = 60.0
_SHOWN: Final = 300
_MAY_PASS: Final = frozenset({408, 409, 425, 429})
_FIRST_SERVER_ERROR: Final = 500
_NO_KEY: Final = frozenset({401, 403})
_NOT_FOUND: Final = 404
_HIDDEN: Final = "[key]"
_growing_wait: Final = wait_exponential_jitter(initial=1, max=30, jitter=1)


class _Message(BaseModel):
    content: str


class _Choice(BaseModel):
    message: _Message


class _Completion(BaseModel):
    """What is read of an answer of `chat/completions`."""

    choices: list[_Choice] = Field(min_length=1)


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    """What is read of an answer of `models`."""

    data: list[_Model]


class _MayPassError(Exception):
    """A try that failed for a reason that may pass."""

    def __init__(self, detail: str, retry_after: float = 0.0) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class OpenAIVisionLanguage:
    """A vision-language model behind a server that speaks OpenAI's chat completions, asked for its likeliest words.

    Temperature is 0 and the seed fixed, yet a server may round otherwise as its load changes: replies are kept in
    tables, not asked for again. The key is read from the environment at each request and stands in no message.
    Redirects are not followed: a key goes nowhere but to `base_url`.

    Args:
        config: names the server and the model.
        sleep: waits so many seconds between two tries.

    Raises:
        UnsupportedSettingError: if `base_url` or `model` is missing, or `base_url` is no plain http address.
    """

    def __init__(self, config: VisionLanguageConfig, sleep: Callable[[float], None] = time.sleep) -> None:
        self._config = config
        self._url = _address(config)
        self._model = _model_name(config)
        self.identity = f"openai:{self._model}"
        self._sleep = sleep
        self._client = httpx.Client(timeout=config.timeout_s, limits=httpx.Limits(max_connections=config.concurrency))

    def ask(self, requests: Sequence[Request]) -> list[str]:
        """Answer questions, `concurrency` at once; see `VisionLanguageModel.ask`."""
        headers = self._headers()
        pool = ThreadPoolExecutor(self._config.concurrency, thread_name_prefix="ask")
        try:
            return list(pool.map(partial(self._reply, headers), requests))
        finally:
            pool.shutdown(cancel_futures=True)

    def require_model(self) -> None:
        """Ask the server once which models it has.

        Raises:
            VisionLanguageError: if it does not answer, or does not list the configured model.
        """
        headers = self._headers()
        try:
            answer = self._answered(lambda: self._client.get(f"{self._url}/models", headers=headers))
            names = sorted(model.id for model in _Models.model_validate_json(answer.content).data)
        except (_MayPassError, ValidationError) as error:
            detail = error if isinstance(error, _MayPassError) else "its answer is no list of models"
            raise VisionLanguageError(
                self._without_key(f"the server at {self._url} does not say which models it has ({detail})")
            ) from None
        if self._model not in names:
            raise VisionLanguageError(
                f"the server at {self._url} has no model {self._model!r}: set `model` to one of {', '.join(names)}"
            )

    def _reply(self, headers: Mapping[str, str], request: Request) -> str:
        body = self._body(request)
        retrying = Retrying(
            stop=stop_after_attempt(self._config.max_attempts),
            wait=_seconds_to_wait,
            retry=retry_if_exception_type(_MayPassError),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(self._complete, body, headers)
        except _MayPassError as error:
            raise VisionLanguageError(
                self._without_key(
                    f"the server at {self._url} gave no reply in {self._config.max_attempts} tries ({error}): "
                    "see that it runs, or raise `timeout_s` or `max_attempts`"
                )
            ) from None

    def _complete(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> str:
        answer = self._answered(lambda: self._client.post(f"{self._url}/chat/completions", json=body, headers=headers))
        try:
            completion = _Completion.model_validate_json(answer.content)
        except ValidationError:
            raise _MayPassError("its answer is no chat completion with a text") from None
        return completion.choices[0].message.content.strip()

    def _answered(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        try:
            answer = send()
        except httpx.TimeoutException:
            raise _MayPassError(f"no byte in {self._config.timeout_s:g} s") from None
        except httpx.HTTPError as error:
            raise _MayPassError(str(error) or type(error).__name__) from None
        if answer.status_code in _MAY_PASS or answer.status_code >= _FIRST_SERVER_ERROR:
            raise _MayPassError(f"HTTP {answer.status_code}", retry_after_s(answer.headers))
        if not answer.is_success:
            raise VisionLanguageError(self._without_key(self._refusal(answer)))
        return answer

    def _refusal(self, answer: httpx.Response) -> str:
        status, variable = answer.status_code, self._config.api_key_env
        if status in _NO_KEY and variable is None:
            return (
                f"the server at {self._url} wants a key (HTTP {status}): name its environment variable, `api_key_env`"
            )
        if status in _NO_KEY:
            return f"the server at {self._url} refuses the key in {variable} (HTTP {status}): set that of this server"
        said = " ".join(answer.text.split())[:_SHOWN]
        if status == _NOT_FOUND:
            return (
                f"the server at {self._url} has no model {self._model!r} or no such path (HTTP 404): "
                f"correct `model` or `base_url`, which ends before /chat/completions; it says: {said}"
            )
        return f"the server at {self._url} refuses the request (HTTP {status}); it says: {said}"

    def _body(self, request: Request) -> dict[str, Any]:
        content = [
            {"type": "image_url", "image_url": {"url": _data_url(request)}},
            {"type": "text", "text": request.prompt},
        ]
        return {
            "model": self._model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "seed": _SEED,
            "max_tokens": self._config.max_new_tokens,
        }

    def _headers(self) -> dict[str, str]:
        key = self._key()
        return {} if key is None else {"Authorization": f"Bearer {key}"}

    def _key(self) -> str | None:
        variable = self._config.api_key_env
        if variable is None:
            return None
        key = os.environ.get(variable, "").strip()
        if not key:
            raise VisionLanguageError(f"the environment variable {variable}, which `api_key_env` names, is not set")
        if not key.isascii() or not key.isprintable():
            raise VisionLanguageError(
                f"the environment variable {variable} holds no key: it has unprintable characters"
            )
        return key

    def _without_key(self, text: str) -> str:
        """A server may quote the key that it was sent."""
        key = self._key()
        return text if key is None else text.replace(key, _HIDDEN)


def _seconds_to_wait(state: RetryCallState) -> float:
    failure = state.outcome.exception() if state.outcome else None
    asked = failure.retry_after if isinstance(failure, _MayPassError) else 0.0
    return min(max(asked, _growing_wait(state)), _LONGEST_WAIT_S)


def _address(config: VisionLanguageConfig) -> str:
    if config.base_url is None:
        raise UnsupportedSettingError("backend openai needs `base_url`, such as http://127.0.0.1:8000/v1")
    try:
        url = httpx.URL(config.base_url)
    except httpx.InvalidURL as error:
        raise UnsupportedSettingError(f"`base_url` is no address: {error}") from None
    if url.userinfo or url.query or url.scheme not in ("http", "https") or not url.host:
        raise UnsupportedSettingError(
            "`base_url` must be an http or https address without name, key or query: keys go into the environment "
            "variable that `api_key_env` names"
        )
    return str(url).rstrip("/")


def _model_name(config: VisionLanguageConfig) -> str:
    if not config.model:
        raise UnsupportedSettingError("backend openai needs `model`, the name under which the server lists it")
    return config.model


def _data_url(request: Request) -> str:
    file = io.BytesIO()
    Image.fromarray(request.image).save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
