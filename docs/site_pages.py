"""Adds the documents of the repository's root to the site that mkdocs makes of this folder."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README": "index", "CONTRIBUTING": "contributing", "CHANGELOG": "changelog"}
FILES = ("LICENSE", "CITATION.cff")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds them, with links that lead to the same documents from there."""
    for name, page in PAGES.items():
        text = (ROOT / f"{name}.md").read_text(encoding="utf-8").replace("](docs/", "](")
        for other, its_page in PAGES.items():
            text = re.sub(rf"\]\({other}\.md", f"]({its_page}.md", text)
        files.append(File.generated(config, f"{page}.md", content=text))
    for name in FILES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files
