"""The documents: links and named programs exist, and what commands write is up to date."""

import importlib
import re
from pathlib import Path

import pytest

import gm_jax
from docs import make_methods, make_results
from gm_jax import ranges
from gm_jax.evaluation.metrics import METRICS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
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
    fenced = "\n".join(re.findall(fences, text, re.DOTALL))
    for command in [*re.split(r"\n(?=python |```)", fenced), *inline]:
        found = re.search(r"--config=configs/(\w+)\.py(?::((?:[a-z]|DATA)[\w+,]*))?", command)
        if found is None:
            continue
        get_config = importlib.import_module(f"configs.{found[1]}").get_config
        variant = found[2] and found[2].replace("DATA", "smoke")  # DATA stands for any data
        config = get_config(variant) if variant else get_config()
        fields = dict(ranges.fields_of(config))
        named = re.findall(r"--(?:config\.|grid=)([a-z][\w.]*)=", command)
        assert [field for field in named if field not in fields] == [], command


def test_pictures_and_tables_are_all_linked():
    text = "".join(page.read_text() for page in PAGES)
    kept = [
        path for path in (ROOT / "docs").rglob("*.*") if path.suffix in (".png", ".jpg", ".csv")
    ]
    assert [path.name for path in kept if not re.search(rf"[/(]{path.name}\)", text)] == []


def test_the_list_of_verdicts_is_up_to_date():
    """After a change of a page in docs/results/: python docs/make_results.py"""
    assert (ROOT / "docs" / "results.md").read_text() == make_results.make()


def test_the_pages_on_methods_are_up_to_date():
    """After a change of a docstring in configs/: python docs/make_methods.py"""
    written = {path.stem: path.read_text() for path in make_methods.FOLDER.glob("*.md")}
    assert written == make_methods.make()


def test_a_config_of_no_family_is_named(monkeypatch):
    families = {name: family for name, family in make_methods.FAMILIES.items() if name != "others"}
    monkeypatch.setattr(make_methods, "FAMILIES", families)
    with pytest.raises(ValueError, match=r"classifier, cycle_gan: each config .*make_methods\.py"):
        make_methods.make()


def test_every_metric_is_explained():
    rows = re.findall(r"(?m)^\| (`.+?) \|", (ROOT / "docs" / "evaluation.md").read_text())
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(METRICS)


def test_the_site_has_every_page():
    """`mkdocs build --strict`, which `.ci/run` has, says the same later."""
    listed = re.findall(r"(?m)^ +- .+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text())
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert sorted(listed) == sorted(pages | {"index.md", "contributing.md", "changelog.md"})


def test_the_version_is_the_same_everywhere():
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"(?m)^version: (.+)$", citation) == [gm_jax.__version__]
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"(?m)^## ([\d.]+)", changes)[0] == gm_jax.__version__


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_an_outcome_has_its_claim_place_and_verdict():
    other = "| a | b |\n|---|---|\n| 1 | 2 |\n"
    table = "| claim, there | where | x | verdict |\n|---|---|---|---|\n| c | w | n | v |\n"
    outcome = {"claim": "c", "where": "w", "verdict": "v"}
    for page in (f"{other}\n{table}", f"{table}\n{other}"):
        assert make_results.outcomes(page) == [outcome]
    with pytest.raises(ValueError, match="no table with the columns claim, where, verdict"):
        make_results.outcomes(other)
