"""Tables that people write: CSV files with a header, every row as long as it."""

import csv
import io
from pathlib import Path

from market_sim.errors import InputError, nearest


def read_table(path: Path, required: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Rows of a CSV file as (line number, {column: text}); blank lines are skipped.

    Raises InputError, naming file and row, where a column is missing or there twice, where a row has more
    cells or fewer than the header, and where there is no row.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a CSV file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not a text file (a CSV file in UTF-8 is wanted)") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a name that no file can have
        raise InputError(f"{str(path)!r}: cannot be read: {error}") from None
    if "\0" in text:
        raise InputError(f"{path}: is not a text file (a CSV file in UTF-8 is wanted)")
    if not text.strip():
        raise InputError(f"{path}: is empty; wanted are the columns {', '.join(required)}")
    reader = csv.reader(io.StringIO(text, newline=""))
    header: list[str] = []
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if not header:
                header = cells
                _check_header(path, header, required)
            elif len(cells) != len(header):
                raise InputError(
                    f"{path}: row {reader.line_num} has {len(cells)} columns, the header has {len(header)}"
                )
            else:
                rows.append((reader.line_num, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise InputError(f"{path}: row {reader.line_num}: not readable as CSV: {error}") from None
    if not rows:
        raise InputError(f"{path}: has a header and no rows")
    return rows


def _check_header(path: Path, header: list[str], required: tuple[str, ...]) -> None:
    for column in required:
        if column not in header:
            near = nearest(column, [name for name in header if name not in required])
            hint = near.replace("(did you mean", "(is").replace("?)", " meant to be it?)")
            raise InputError(f"{path}: column {column} is missing; the file has {', '.join(header)}{hint}")
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise InputError(f"{path}: column {twice[0]} stands in the header twice")
