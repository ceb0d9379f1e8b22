"""The documents: links and named programs exist, and the list of verdicts is up to date."""

import importlib
import re
from pathlib import Path

import pytest

from docs import make_results
from gm_jax import ranges

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pages
def test_links_lead_to_something_that_exists(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    local = [link.partition("#")[0] for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pages
def test_programs_and_configs_that_are_named_exist(page):
    named = re.findall(r"\b(?:experiments|configs|docs|gm_jax|tests)/[\w/]+\.\w+", page.read_text())
    real = [name for name in named if "PAPER" not in name]  # which stands for any
    assert [name for name in real if not (ROOT / name).exists()] == []


@pages
def test_a_command_names_a_variant_and_fields_that_its_page_has(page):
    fences, text = r"```.*?```", page.read_text()
    inline = re.findall(r"`([^`]+)`", re.sub(fences, "", text, flags=re.DOTALL))
    for command in [*re.findall(fences, text, re.DOTALL), *inline]:
        found = re.search(r"--config=configs/(\w+)\.py(?::([a-z][\w+,]*))?", command)
        if found is None:
            continue
        get_config = importlib.import_module(f"configs.{found[1]}").get_config
        config = get_config(found[2]) if found[2] else get_config()
        fields = dict(ranges.fields_of(config))
        named = re.findall(r"--(?:config\.|grid=)([a-z][\w.]*)=", command)
        assert [field for field in named if field not in fields] == [], command


def test_pictures_and_tables_are_all_linked():
    text = "".join(page.read_text() for page in PAGES)
    kept = [
        path for path in (ROOT / "docs").rglob("*.*") if path.suffix in (".png", ".jpg", ".csv")
    ]
    assert [path.name for path in kept if f"/{path.name})" not in text] == []


def test_the_list_of_verdicts_is_up_to_date():
    """After a change of a page in docs/results/: python docs/make_results.py"""
    assert (ROOT / "docs" / "results.md").read_text() == make_results.make()


def test_an_outcome_has_its_claim_place_and_verdict():
    other = "| a | b |\n|---|---|\n| 1 | 2 |\n"
    table = "| claim, there | where | x | verdict |\n|---|---|---|---|\n| c | w | n | v |\n"
    outcome = {"claim": "c", "where": "w", "verdict": "v"}
    for page in (f"{other}\n{table}", f"{table}\n{other}"):
        assert make_results.outcomes(page) == [outcome]
    with pytest.raises(ValueError, match="no table with the columns claim, where, verdict"):
        make_results.outcomes(other)
