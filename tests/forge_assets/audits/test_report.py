"""The HTML report: all audits on one page, nothing that runs, the same page each time."""

import re
from pathlib import Path

import pytest

from forge_assets.audits.opening import open_lake
from forge_assets.audits.report import render_report
from forge_assets.audits.runner import audit_names, audit_question, run_audit
from forge_resources.config import load_config


@pytest.fixture
def page(project: Path) -> str:
    settings = load_config(project / "forge.yaml")
    with open_lake(settings) as tables:
        rows = {name: run_audit(tables, name, settings.quotas) for name in audit_names()}
    assert render_report(rows, "a <lake>") == render_report(rows, "a <lake>")
    return render_report(rows, "a <lake>")


def test_every_audit_has_its_section_with_its_question(page: str) -> None:
    assert sorted(re.findall(r'<section id="(\w+)">', page)) == sorted(audit_names())
    assert all(audit_question(name).replace("'", "&#39;") in page for name in audit_names())


def test_text_of_the_data_is_escaped(page: str) -> None:
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "a &lt;lake&gt;" in page
    assert "<script" not in page


def test_the_page_reaches_nothing(page: str) -> None:
    assert not re.findall(r"(?:src|href)=[\"'](?!#)", page)
    assert "url(" not in page
    assert "@import" not in page


def test_balance_yield_margins_boxes_and_licences_are_plotted(page: str) -> None:
    for name in ("task_balance", "yield", "drop_reasons", "licenses"):
        assert 'class="bar"' in section(page, name)
    for name in ("margins", "boxes", "box_positions"):
        assert "<rect" in section(page, name)
    assert 'title="train: 2 pairs"' in section(page, "task_balance")


def test_what_is_well_when_it_is_empty_says_so(page: str) -> None:
    assert "Nothing stands in two splits." in section(page, "split_leakage")


def section(page: str, name: str) -> str:
    return page.split(f'<section id="{name}">')[1].split("</section>", maxsplit=1)[0]
