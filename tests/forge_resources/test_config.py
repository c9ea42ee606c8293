"""A configuration is taken whole and checked, or refused with the file and the field named."""

from pathlib import Path

import pytest
import yaml

from forge_resources.config import (
    ENVIRONMENT_VARIABLE,
    ConfigError,
    ForgeConfig,
    ImageFolderConfig,
    VerificationConfig,
    config_path,
    load_config,
    write_config,
)


@pytest.fixture
def forge_yaml(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "forge.yaml"
        path.write_text(text)
        return path

    return write


def test_an_empty_file_is_the_default_configuration(forge_yaml):
    path = forge_yaml("")
    config = load_config(path)
    assert config == ForgeConfig(lake=path.parent / "lake", cache=path.parent / ".forge")
    assert config.profile == "demo"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("lakes: x", "lakes"),
        ("verification: {min_scores: 0.5}", "verification.min_scores"),
        ("sources: {mine: {path: a, label: coco}}", "sources.mine.label"),
        ("models: {depth: [{name: a, weight: b}]}", "models.depth.0.weight"),
    ],
)
def test_a_misspelt_field_is_named(forge_yaml, text, field):
    path = forge_yaml(text)
    with pytest.raises(ConfigError) as refusal:
        load_config(path)
    assert str(path) in str(refusal.value)
    assert field in str(refusal.value)


@pytest.mark.parametrize("text", ["verification: {min_score: 1.5}", "verification: {min_depth_ratio: 1}", "- a", "x"])
def test_values_that_make_no_sense_are_refused(forge_yaml, text):
    with pytest.raises(ConfigError):
        load_config(forge_yaml(text))


def test_a_file_that_is_not_yaml_is_refused_with_the_line(forge_yaml):
    path = forge_yaml("lake: x\nsources: [unclosed\n")
    with pytest.raises(ConfigError, match=r"line \d") as refusal:
        load_config(path)
    assert str(path) in str(refusal.value)


def test_an_absent_file_tells_how_to_make_one(tmp_path):
    with pytest.raises(ConfigError, match="forge init PHOTOS_FOLDER") as refusal:
        load_config(tmp_path / "absent.yaml")
    assert str(tmp_path / "absent.yaml") in str(refusal.value)


def test_the_environment_names_the_file(forge_yaml, monkeypatch):
    path = forge_yaml("profile: demo\nlake: named-by-environment\n")
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(path))
    assert config_path() == path
    assert load_config().lake == path.parent / "named-by-environment"
    monkeypatch.delenv(ENVIRONMENT_VARIABLE)
    assert config_path() == Path("forge.yaml")


def test_relative_paths_start_at_the_folder_of_the_file(forge_yaml, monkeypatch):
    path = forge_yaml(
        "lake: tables\n"
        "sources:\n"
        "  mine: {path: photos, labels: yolo, labels_path: texts, class_names: names.txt}\n"
        "  far: {path: /photos/far}\n"
    )
    monkeypatch.chdir(path.parent)
    config = load_config(Path("forge.yaml"))
    folder = path.parent
    assert config.lake == folder / "tables"
    mine = config.source("mine")
    assert (mine.path, mine.labels_path, mine.class_names) == (
        folder / "photos",
        folder / "texts",
        folder / "names.txt",
    )
    assert config.source("far").path == Path("/photos/far")
    assert config.source("far").labels_path is None


def test_a_tilde_is_the_home_folder(forge_yaml):
    assert load_config(forge_yaml("lake: ~/lake")).lake == Path.home() / "lake"


def test_production_takes_no_automatic_backend(forge_yaml):
    with pytest.raises(ConfigError) as refusal:
        load_config(forge_yaml("profile: production\nmodels: {pose: {backend: none}}\n"))
    assert "detector" in str(refusal.value)
    assert "depth[0]" in str(refusal.value)
    assert "second_detector" in str(refusal.value)
    assert "pose" not in str(refusal.value).split("models:")[1].split(")")[0]


def test_production_takes_named_backends(forge_yaml):
    text = """
        profile: production
        models:
          detector: {backend: ultralytics, weights: /weights/a.pt, sha256: "00"}
          second_detector: {backend: embedded}
          pose: {backend: none}
          depth: []
    """
    assert load_config(forge_yaml(text)).profile == "production"


def test_an_unknown_source_is_answered_with_the_known_ones():
    config = ForgeConfig(sources={"mine": ImageFolderConfig(path=Path("a")), "far": ImageFolderConfig(path=Path("b"))})
    with pytest.raises(ConfigError, match="unknown source 'other'; configured sources: far, mine"):
        config.source("other")


def test_a_written_configuration_is_read_as_it_was_meant(tmp_path):
    sources = {"mine": ImageFolderConfig(path=tmp_path / "photos", labels="coco", labels_path=tmp_path / "a.json")}
    path = write_config(tmp_path / "new" / "forge.yaml", sources)
    assert load_config(path) == ForgeConfig(
        sources=sources, lake=tmp_path / "new" / "lake", cache=tmp_path / "new" / ".forge"
    )
    assert set(yaml.safe_load(path.read_text())) == {"profile", "lake", "sources"}


def test_a_configuration_is_never_overwritten(forge_yaml):
    path = forge_yaml("lake: mine\n")
    with pytest.raises(ConfigError, match="exists"):
        write_config(path, {})
    assert path.read_text() == "lake: mine\n"


def test_a_section_digest_changes_with_its_settings():
    digests = {VerificationConfig(min_score=score).digest for score in (0.5, 0.6)}
    assert len(digests) == 2
    assert VerificationConfig(min_score=0.5).digest == VerificationConfig().digest


MAIL = "host: mail.example.org, sender: forge@example.org, recipients: [ops@example.org]"


@pytest.mark.parametrize(
    ("alerts", "said"),
    [
        ("webhook: {}", "a webhook needs one of url_env and url_file"),
        ("webhook: {url_env: HOOK, url_file: hook}", "a webhook needs one of url_env and url_file"),
        (f"email: {{{MAIL}, user: forge}}", "a user needs one of password_env and password_file"),
        (f"email: {{{MAIL}, password_env: PASSWORD}}", "without a user give neither"),
        (f"email: {{{MAIL}, user: a, password_env: B, security: none}}", "security none sends no password"),
        (f"email: {{{MAIL}, recipients: [ops]}}".replace("recipients: [ops@example.org], ", ""), "alerts.email.recip"),
        ("ui_url: forge.example.org", "alerts.ui_url"),
    ],
)
def test_alerts_that_could_not_be_sent_are_refused(forge_yaml, alerts, said):
    with pytest.raises(ConfigError, match=said):
        load_config(forge_yaml(f"alerts: {{{alerts}}}"))


def test_a_secret_that_is_written_into_the_file_is_refused_and_not_quoted(forge_yaml):
    path = forge_yaml("alerts: {webhook: {url: 'https://hooks.example.org/the-secret'}}")
    with pytest.raises(ConfigError, match=r"alerts\.webhook\.url") as refusal:
        load_config(path)
    assert "the-secret" not in str(refusal.value)


def test_files_with_secrets_start_at_the_folder_of_the_file(forge_yaml):
    mail = f"{MAIL}, user: forge, password_file: secrets/mail"
    path = forge_yaml(f"alerts: {{webhook: {{url_file: secrets/hook}}, email: {{{mail}}}}}")
    alerts = load_config(path).alerts
    assert alerts.webhook.url_file == path.parent / "secrets/hook"
    assert alerts.email.password_file == path.parent / "secrets/mail"
