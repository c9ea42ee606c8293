"""Vision-language models: a real architecture, small and untrained, and a real server with scripted answers."""

import base64
import io
import json
import logging
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from forge_resources.config import ConfigError, ForgeConfig, VisionLanguageConfig, load_config
from forge_resources.models import selection
from forge_resources.models.devices import UnsupportedSettingError
from forge_resources.models.selection import describe, load_describer, load_judge
from forge_resources.models.vision_language.base import Request, VisionLanguageError, shrunk
from forge_resources.models.vision_language.local import TransformersVisionLanguage
from forge_resources.models.vision_language.replies import boxes_in
from forge_resources.models.vision_language.server import OpenAIVisionLanguage
from forge_resources.models.weights import UnpinnedWeightsError, resolve, sha256_of

KEY = "sk-planted-key-0123456789"
VARIABLE = "FORGE_TEST_MODEL_KEY"
PHOTO = np.zeros((40, 60, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    selection._vision_language.cache_clear()
    yield
    selection._vision_language.cache_clear()


# --- photos and replies


@pytest.mark.parametrize(
    ("reply", "boxes"),
    [
        ('[{"bbox_2d": [1, 2, 3, 4], "label": "dog"}]', [(1, 2, 3, 4)]),
        (
            '```json\n[{"bbox_2d": [1, 2, 3, 4]}, {"bbox_2d": [5, 6, 7.5, 1000]}]\n```',
            [(1, 2, 3, 4), (5, 6, 7.5, 1000)],
        ),
        ('Here it is: {"bbox_2d": [1, 2, 3, 4]}.', [(1, 2, 3, 4)]),
        ("[1, 2, 3, 4]", [(1, 2, 3, 4)]),
        ("[[1, 2, 3, 4], [5, 6, 7, 8]]", [(1, 2, 3, 4), (5, 6, 7, 8)]),
        ("[]", []),
        ("there is none", None),
        ('[{"bbox_2d": [1, 2, 3', None),
        ("[3, 2, 1, 4]", None),
        ("[1, 2, 3, 1001]", None),
        ('[{"label": "dog"}]', None),
        ("[1, 2, 3, true]", None),
        ("[1, 2, 3, NaN]", None),
        ("[" * 100_000, None),
        ("{}", None),
    ],
)
def test_boxes_are_read_as_models_write_them(reply: str, boxes: list[Any] | None) -> None:
    assert boxes_in(reply) == boxes


@given(st.text())
def test_whatever_is_said_is_read_or_is_none(reply: str) -> None:
    assert boxes_in(reply) is None or isinstance(boxes_in(reply), list)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(16, 400))
def test_a_photo_is_shrunk_to_the_longer_side_alone(height: int, width: int, max_side: int) -> None:
    image = shrunk(np.zeros((height, width, 3), dtype=np.uint8), max_side)
    assert max(image.shape[:2]) == min(max(height, width), max_side)
    assert abs(image.shape[0] * width - image.shape[1] * height) <= max(height, width)


# --- transformers: the real architecture, small and untrained

TEMPLATE = (
    "{% for message in messages %}USER: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)


def llava(folder: Path, template: str | None = TEMPLATE) -> Path:
    """A LLaVA whose words are those of a list."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    torch.manual_seed(0)
    words = ["<unk>", "<pad>", "</s>", "<image>", "USER", "ASSISTANT", ":", "dog", "red", "what", "is", "this", "big"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="</s>",
        additional_special_tokens=["<image>"],
    )
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=28,
            patch_size=14,
        ),
        text_config=LlamaConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            pad_token_id=1,
            bos_token_id=None,
            eos_token_id=2,
        ),
        image_token_index=words.index("<image>"),
        vision_feature_layer=-1,
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    LlavaProcessor(
        image_processor=CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        tokenizer=fast,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    ).save_pretrained(folder)
    return folder


def of_weights(folder: Path, **fields: Any) -> VisionLanguageConfig:
    values = {"backend": "transformers", "weights": str(folder), "sha256": sha256_of(folder), "device": "cpu"}
    return VisionLanguageConfig.model_validate(values | fields)


@pytest.mark.slow
def test_a_model_of_transformers_answers_each_photo_by_itself_and_alike_each_time(
    tmp_path: Path, bus: NDArray[np.uint8], zidane: NDArray[np.uint8]
) -> None:
    settings = of_weights(llava(tmp_path / "net"), max_new_tokens=4)
    model = TransformersVisionLanguage(resolve(settings, backend="transformers"), settings)
    requests = [Request(image, "what is this") for image in (bus, zidane, PHOTO)]
    together = model.ask(requests)
    assert len(set(together)) > 1
    assert together == model.ask(requests) == [model.ask([request])[0] for request in requests]
    assert all(len(reply.split()) <= 4 for reply in together)
    assert all("USER" not in reply and "<image>" not in reply for reply in together)
    assert model.identity.startswith("transformers:net@sha256:")
    assert model.ask([]) == []


@pytest.mark.slow
def test_weights_are_taken_by_their_pin_and_loaded_once(tmp_path: Path) -> None:
    folder = llava(tmp_path / "net")
    asked = of_weights(folder).model_dump()
    config = ForgeConfig.model_validate({"models": {"describer": asked, "judge": asked | {"sample_pairs": 7}}})
    describer = load_describer(config)
    assert describer is not None
    assert load_describer(config) is describer
    assert [status.would_use for status in describe(config)[-2:]] == [describer.identity] * 2
    unpinned = ForgeConfig.model_validate({"models": {"describer": asked | {"sha256": None}}})
    with pytest.raises(UnpinnedWeightsError):
        load_describer(unpinned)


@pytest.mark.slow
def test_weights_without_a_chat_template_are_refused(tmp_path: Path) -> None:
    settings = of_weights(llava(tmp_path / "net", template=None))
    with pytest.raises(UnsupportedSettingError, match="net has no chat template"):
        TransformersVisionLanguage(resolve(settings, backend="transformers"), settings)


# --- a server


def of_server(url: str, **fields: Any) -> VisionLanguageConfig:
    return VisionLanguageConfig.model_validate(
        {"backend": "openai", "base_url": url, "model": "org/model", "max_attempts": 3} | fields
    )


def unhurried(config: VisionLanguageConfig) -> tuple[OpenAIVisionLanguage, list[float]]:
    """A model that notes its waits instead of waiting."""
    waits: list[float] = []
    return OpenAIVisionLanguage(config, sleep=waits.append), waits


def test_a_server_is_asked_for_its_likeliest_words_about_the_photo(chat_server: Any) -> None:
    model, waits = unhurried(of_server(chat_server.url, max_new_tokens=9))
    assert model.ask([Request(PHOTO, "what is this?")]) == ["a reply"]
    (body,) = chat_server.asked
    assert {name: body[name] for name in ("model", "temperature", "seed", "max_tokens")} == {
        "model": "org/model",
        "temperature": 0,
        "seed": 0,
        "max_tokens": 9,
    }
    picture, text = body["messages"][0]["content"]
    assert text == {"type": "text", "text": "what is this?"}
    shown = Image.open(io.BytesIO(base64.b64decode(picture["image_url"]["url"].split(",")[1])))
    assert (shown.width, shown.height) == (60, 40)
    assert chat_server.keys == [None]
    assert waits == []
    assert model.identity == "openai:org/model"


def test_replies_come_in_the_order_of_their_requests(chat_server: Any) -> None:
    chat_server.reply = lambda _photo, prompt: f" {prompt} \n"
    model, _ = unhurried(of_server(chat_server.url, concurrency=4))
    prompts = [str(number) for number in range(40)]
    assert model.ask([Request(PHOTO, prompt) for prompt in prompts]) == prompts


@pytest.mark.parametrize(
    "first",
    [
        (500, b"broken"),
        (503, b""),
        (429, b"busy"),
        (200, b"<html>"),
        (200, b"{}"),
        (200, b'{"choices": []}'),
        (200, b'{"choices": [{"message": {"content": null}}]}'),
    ],
)
def test_what_may_pass_is_tried_again(chat_server: Any, first: tuple[int, bytes]) -> None:
    chat_server.answers = [first, first]
    model, waits = unhurried(of_server(chat_server.url))
    assert model.ask([Request(PHOTO, "?")]) == ["a reply"]
    assert len(chat_server.asked) == 3
    assert waits[0] < waits[1]


def test_a_server_that_asks_for_time_gets_it(chat_server: Any) -> None:
    chat_server.answers, chat_server.headers = [(429, b"")], {"Retry-After": "30"}
    model, waits = unhurried(of_server(chat_server.url))
    model.ask([Request(PHOTO, "?")])
    assert waits == [30]


@pytest.mark.parametrize(
    ("answer", "detail"),
    [((500, b""), "HTTP 500"), ((200, b"nonsense"), "its answer is no chat completion with a text")],
)
def test_a_server_that_stays_broken_is_told_after_all_tries(
    chat_server: Any, answer: tuple[int, bytes], detail: str
) -> None:
    chat_server.answers = [answer] * 3
    model, _ = unhurried(of_server(chat_server.url))
    with pytest.raises(VisionLanguageError, match=rf"gave no reply in 3 tries \({detail}\): see that it runs"):
        model.ask([Request(PHOTO, "?")])


def test_a_server_that_is_slow_is_told_with_its_time(chat_server: Any) -> None:
    chat_server.seconds = 1.0
    model, _ = unhurried(of_server(chat_server.url, timeout_s=0.2, max_attempts=2))
    with pytest.raises(VisionLanguageError, match=r"no reply in 2 tries \(no byte in 0.2 s\)"):
        model.ask([Request(PHOTO, "?")])


def test_a_server_that_is_not_there_is_told() -> None:
    model, _ = unhurried(of_server("http://127.0.0.1:9/v1"))
    with pytest.raises(VisionLanguageError, match=r"http://127\.0\.0\.1:9/v1 gave no reply in 3 tries"):
        model.ask([Request(PHOTO, "?")])


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "refuses the key in FORGE_TEST_MODEL_KEY"),
        (403, "refuses the key in FORGE_TEST_MODEL_KEY"),
        (404, "has no model 'org/model' or no such path"),
        (400, r"refuses the request \(HTTP 400\); it says: bad"),
        (307, r"refuses the request \(HTTP 307\)"),
    ],
)
def test_what_does_not_pass_is_told_at_once_and_never_with_the_key(
    chat_server: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, status: int, said: str
) -> None:
    monkeypatch.setenv(VARIABLE, f" {KEY}\n")
    chat_server.answers = [(status, f"bad: you sent Bearer {KEY}".encode())]
    chat_server.headers = {"Location": "http://127.0.0.1:9/elsewhere"}
    model, _ = unhurried(of_server(chat_server.url, api_key_env=VARIABLE))
    with caplog.at_level(logging.DEBUG), pytest.raises(VisionLanguageError, match=said) as raised:
        model.ask([Request(PHOTO, "?")])
    assert chat_server.keys == [f"Bearer {KEY}"]
    assert len(chat_server.asked) == 1
    told = "".join(traceback.format_exception(raised.value)) + caplog.text + repr(vars(model)) + model.identity
    assert KEY not in told


def test_a_server_that_wants_a_key_says_where_to_name_it(chat_server: Any) -> None:
    chat_server.answers = [(401, b"")]
    model, _ = unhurried(of_server(chat_server.url))
    with pytest.raises(
        VisionLanguageError, match=r"wants a key \(HTTP 401\): name its environment variable, `api_key_env`"
    ):
        model.ask([Request(PHOTO, "?")])


@pytest.mark.parametrize(("value", "said"), [("", "is not set"), (f"{KEY}\x07{KEY}", "holds no key")])
def test_a_variable_without_a_key_is_told_by_its_name_alone(
    chat_server: Any, monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    monkeypatch.setitem(os.environ, VARIABLE, value)
    model, _ = unhurried(of_server(chat_server.url, api_key_env=VARIABLE))
    with pytest.raises(VisionLanguageError, match=f"{VARIABLE}.*{said}") as raised:
        model.ask([Request(PHOTO, "?")])
    assert KEY not in "".join(traceback.format_exception(raised.value))
    assert chat_server.asked == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"base_url": None}, "needs `base_url`"),
        ({"model": None}, "needs `model`"),
        ({"base_url": f"http://me:{KEY}@127.0.0.1/v1"}, "without name, key or query"),
        ({"base_url": f"http://127.0.0.1/v1?key={KEY}"}, "without name, key or query"),
        ({"base_url": "ftp://127.0.0.1/v1"}, "http or https"),
        ({"base_url": "127.0.0.1:8000"}, "`base_url`"),
    ],
)
def test_settings_that_lead_nowhere_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedSettingError, match=said) as raised:
        OpenAIVisionLanguage(of_server("http://127.0.0.1/v1", **fields))
    assert KEY not in "".join(traceback.format_exception(raised.value))


def test_a_key_in_the_configuration_is_refused_unshown(tmp_path: Path) -> None:
    file = tmp_path / "forge.yaml"
    file.write_text(json.dumps({"models": {"judge": {"backend": "openai", "api_key": KEY}}}))
    with pytest.raises(ConfigError, match=r"models\.judge\.api_key") as raised:
        load_config(file)
    assert KEY not in "".join(traceback.format_exception(raised.value))


# --- choosing


def test_none_is_none_and_is_not_described() -> None:
    config = ForgeConfig.model_validate({"models": {"detector": {"backend": "embedded"}, "depth": []}})
    assert load_describer(config) is None
    assert load_judge(config) is None
    assert not {status.role for status in describe(config)} & {"describer", "judge"}


def test_weights_written_as_a_path_start_at_the_configuration(tmp_path: Path) -> None:
    network = {"backend": "transformers", "weights": "./net", "sha256": "0" * 64}
    (tmp_path / "forge.yaml").write_text(json.dumps({"models": {"describer": network, "judge": network}}))
    models = load_config(tmp_path / "forge.yaml").models
    assert models.describer.weights == models.judge.weights == str(tmp_path / "net")


def test_the_doctor_asks_a_server_for_its_models(chat_server: Any) -> None:
    def status_of(**fields: Any) -> Any:
        asked = of_server(chat_server.url, **fields).model_dump()
        return describe(ForgeConfig.model_validate({"models": {"pose": {"backend": "none"}, "judge": asked}}))[-1]

    found = status_of()
    assert (found.role, found.reachable, found.would_use) == ("judge", True, "openai:org/model")
    other = status_of(model="another")
    assert (other.reachable, other.would_use) == (False, None)
    assert "has no model 'another': set `model` to one of org/model" in other.why
    assert "does not say which models it has" in status_of(base_url="http://127.0.0.1:9/v1").why
    assert "no such path" in status_of(base_url=chat_server.url.removesuffix("/v1")).why
