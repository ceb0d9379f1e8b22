"""The building blocks of a page: plain HTML with all pictures inside, and no JavaScript."""

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from etils import epath
from PIL import Image

from gm_jax.borders import reading

_MOST_BYTES = 600_000  # of a picture; a larger one is shown at a smaller size
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1320px; margin: 0 auto; padding: 0 16px; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin-top: 2rem; }
img { max-width: 100%; height: auto; }
figure { margin: 1rem 0; }
figcaption, .note { opacity: .75; font-size: .9rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { border-bottom: 1px solid #8886; padding: 4px 12px 4px 0; text-align: left;
  vertical-align: top; }
.scroll td:nth-child(2) { min-width: 7.5em; }
.scroll td:nth-child(n+3) { min-width: 12em; overflow-wrap: break-word; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr));
  gap: 8px; }
svg { width: 100%; height: auto; font: 11px system-ui, sans-serif; }
svg text { fill: currentColor; } svg .title { font-size: 12px; font-weight: 600; }
svg rect { fill: none; stroke: #8888; } svg polyline { fill: none; stroke-width: 1.8; }
.key { display: inline-block; width: 1.2em; height: .7em; margin-right: .4em; }
.config { columns: 340px; } .config div { break-inside: avoid; margin-bottom: 1rem; }
.config td { border: 0; padding: 0 12px 0 0; overflow-wrap: anywhere; }
.config h3 { margin: 0; font-size: 1rem; }
"""


def page(title: str, about: str, sections: Iterable[tuple[str, str]]) -> str:
    """A whole page from {heading: HTML}; empty sections are left out."""
    shown = html.escape(title)
    body = [f"<h1>{shown}</h1>", f'<p class="note">{html.escape(about)}</p>']
    body += [
        f"<section><h2>{html.escape(h)}</h2>\n{text}</section>" for h, text in sections if text
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{shown}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of text; it scrolls by itself where the page is narrower. '' without rows."""
    cells = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    if not cells:
        return ""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    body = "".join(f"<tr>{row}</tr>\n" for row in cells)
    return f'<div class="scroll"><table><tr>{head}</tr>\n{body}</table></div>\n'


def note(text: str) -> str:
    """A line of small print."""
    return f'<p class="note">{html.escape(text)}</p>\n'


def charts(drawn: Sequence[str]) -> str:
    """Charts in as many columns as there is room for; '' without any."""
    return f'<div class="charts">{"".join(drawn)}</div>\n' if drawn else ""


def legend(colours: Mapping[str, str]) -> str:
    """What the colours of charts mean."""
    keys = [
        f'<span class="key" style="background:{colour}"></span>{html.escape(name)}<br>'
        for name, colour in colours.items()
    ]
    return f"<p>{''.join(keys)}</p>\n"


def picture(path: epath.PathLike, caption: str) -> str:
    """A PNG or GIF, inside the page.

    Raises:
      ValueError: the file is damaged.
    """
    path = epath.Path(path)
    with reading(f"{path}", "draw it anew"):
        encoded = path.read_bytes()
        image: Image.Image = Image.open(io.BytesIO(encoded))
        image.load()  # all of it, not the header alone
        kind = image.format or ""
        while kind == "PNG" and len(encoded) > _MOST_BYTES and min(image.size) > 1:
            half = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
            written = io.BytesIO()
            half.save(written, "PNG")
            image, encoded = half, written.getvalue()
    source = f"data:image/{kind.lower()};base64,{base64.b64encode(encoded).decode()}"
    size = f'width="{image.width}" height="{image.height}"'
    shown = html.escape(caption)
    return (
        f'<figure><img src="{source}" {size} alt="{shown}"><figcaption>{shown}</figcaption>'
        "</figure>\n"
    )


def config(tree: Mapping[str, Any]) -> str:
    """A config, a small table a section, its fields with their dotted names."""
    own = {name: value for name, value in tree.items() if not isinstance(value, Mapping)}
    sections = {"": own} | {name: v for name, v in tree.items() if isinstance(v, Mapping)}
    parts = []
    for name, section in sections.items():
        rows = "".join(
            f"<tr><td>{html.escape(field)}</td><td>{html.escape(str(value))}</td></tr>"
            for field, value in _fields(section)
        )
        heading = f"<h3>{html.escape(name)}</h3>" if name else ""
        parts.append(f"<div>{heading}<table>{rows}</table></div>")
    return f'<div class="config">{"".join(parts)}</div>\n'


def _fields(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
