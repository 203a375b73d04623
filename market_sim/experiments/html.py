"""One HTML page that needs nothing but itself: text, tables that sort, pictures and files.

Everything a caller gives is escaped here and nowhere else.  Pictures are data in the page, the style sheet
and the few lines of script stand in it too, so a page opens without a network and can be sent by post.
The same contents give the same bytes.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

MOST_ON_ONE_PAGE = 20
"""Rows of a table that is not broken in print."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What a cell of a table says, and the number it is sorted by; texts are sorted by themselves."""

    text: str
    number: float | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns under headers, the first naming its row; sorted by whoever reads it."""

    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An SVG picture; `says` is what it shows, for those who cannot see it."""

    svg: bytes
    says: str


@dataclass(frozen=True, kw_only=True)
class Words:
    """A paragraph, or several points."""

    points: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A file, letter for letter."""

    name: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what stands under it."""

    title: str
    parts: Sequence[Table | Picture | Words | Listing]


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole page, UTF-8 text."""
    names = [f"part-{number}" for number in range(1, len(sections) + 1)]
    contents = "".join(
        f'<li><a href="#{name}">{escape(section.title)}</a></li>'
        for name, section in zip(names, sections, strict=True)
    )
    body = "\n".join(
        f'<section id="{name}">\n<h2>{escape(section.title)}</h2>\n'
        + "\n".join(_part(part) for part in section.parts)
        + "\n</section>"
        for name, section in zip(names, sections, strict=True)
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<link rel="icon" href="data:,">\n<style>{_STYLE}</style>\n'
        f"</head>\n<body>\n<header>\n<h1>{escape(title)}</h1>\n<p>{escape(lead)}</p>\n"
        f'<nav aria-label="Contents"><ul>{contents}</ul></nav>\n</header>\n<main>\n{body}\n</main>\n'
        f"<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def _part(part: Table | Picture | Words | Listing) -> str:
    match part:
        case Table():
            return _table(part)
        case Picture():
            data = b64encode(part.svg).decode()
            says = escape(part.says)
            return f'<figure><img src="data:image/svg+xml;base64,{data}" alt="{says}"></figure>'
        case Words(points=[only]):
            return f"<p>{escape(only)}</p>"
        case Words():
            return "<ul>" + "".join(f"<li>{escape(point)}</li>" for point in part.points) + "</ul>"
        case Listing():
            return f"<h3>{escape(part.name)}</h3>\n<pre>{escape(part.text)}</pre>"


def _table(table: Table) -> str:
    numeric = [
        any(row[column].number is not None for row in table.rows) for column in range(len(table.headers))
    ]
    head = "".join(
        f'<th scope="col"{_right(right)}>{escape(header)}</th>'
        for header, right in zip(table.headers, numeric, strict=True)
    )
    rows = "\n".join(
        "<tr>"
        + "".join(
            _cell(cell, "th" if column == 0 else "td", right)
            for column, (cell, right) in enumerate(zip(row, numeric, strict=True))
        )
        + "</tr>"
        for row in table.rows
    )
    short = ' class="short"' if len(table.rows) <= MOST_ON_ONE_PAGE else ""
    return (
        f'<div class="scroll"><table{short}>\n<caption>{escape(table.caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>"
    )


def _cell(cell: Cell, tag: str, right: bool) -> str:
    scope = ' scope="row"' if tag == "th" else ""
    number = "" if cell.number is None else f' data-number="{cell.number!r}"'
    return f"<{tag}{scope}{_right(right)}{number}>{escape(cell.text)}</{tag}>"


def _right(right: bool) -> str:
    return ' class="number"' if right else ""


_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1.5rem 1.25rem 4rem; background: #fff; color: #1c1c1c;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; padding-top: .6rem; border-top: 1px solid #d5d5d5; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; overflow-wrap: anywhere; }
p, li { max-width: 46rem; }
a { color: #15549a; }
nav ul { list-style: none; margin: .8rem 0 0; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; }
figure { margin: 1rem 0; }
img { display: block; width: 100%; max-width: 58rem; height: auto; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 0 0 .5rem; color: #555; }
th, td { padding: .28rem .8rem .28rem 0; text-align: left; vertical-align: baseline;
  border-bottom: 1px solid #e6e6e6; font-weight: 400; }
td:last-child, th:last-child { padding-right: 0; }
tbody th:not(.number) { min-width: 9rem; }
.number { text-align: right; }
td.number { white-space: nowrap; }
thead th { border-bottom: 1.5px solid #444; vertical-align: bottom; }
thead th { font-weight: 600; }
.sorts { cursor: pointer; }
.sorts:hover { text-decoration: underline; }
.sorts:focus-visible { outline: 2px solid #15549a; outline-offset: 2px; }
.sorts::after { content: "\\2195"; color: #9a9a9a; padding-left: .25em; font-weight: 400; }
.sorts[aria-sort=ascending]::after { content: "\\2191"; color: #1c1c1c; }
.sorts[aria-sort=descending]::after { content: "\\2193"; color: #1c1c1c; }
tbody tr:hover { background: #f4f7fa; }
pre { background: #f6f6f4; padding: .9rem 1rem; overflow: auto; max-height: 30rem; font-size: .82rem;
  line-height: 1.4; border-radius: 4px; }
@media print {
  @page { size: A4; margin: 15mm; }
  body { max-width: none; padding: 0; font-size: 9.5pt; }
  nav { display: none; }
  .sorts::after { content: none !important; }
  h2, h3, caption { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  thead { display: table-header-group; break-inside: avoid; }
  table.short { break-inside: avoid; }
  table { font-size: 8pt; }
  th, td { padding-right: .5rem; }
  tbody th:not(.number) { min-width: 6rem; }
  .scroll { overflow: visible; }
  pre { max-height: none; overflow: visible; white-space: pre-wrap; overflow-wrap: anywhere;
    font-size: 7.5pt; }
  img { max-width: 100%; max-height: 240mm; object-fit: contain; object-position: left; }
}
"""

_SCRIPT = """
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    head.classList.add("sorts");
    head.tabIndex = 0;
    head.addEventListener("keydown", event => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      head.click();
    });
    head.addEventListener("click", () => sort(head, column));
  });
  const sort = (head, column) => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = row => row.cells[column].dataset.number;
    const rows = [...body.rows].sort((a, b) => {
      const x = key(a), y = key(b);
      if (x === undefined && y === undefined) {
        const s = a.cells[column].textContent, t = b.cells[column].textContent;
        return (up ? 1 : -1) * s.localeCompare(t, "en", {numeric: true});
      }
      if (x === undefined || y === undefined) return x === undefined ? 1 : -1;
      return (up ? 1 : -1) * (Number(x) - Number(y));
    });
    body.append(...rows);
  };
}
"""
