"""market-sim curves build | check | show."""

from pathlib import Path
from typing import Annotated

import typer

from market_sim.cli.options import JsonOption, print_json
from market_sim.errors import InputError
from market_sim.screen import curves, terminal

curves_app = typer.Typer(
    name="curves",
    help="From raw evaluations to curve files: build, check, show.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
FormatOption = Annotated[str, typer.Option("--format", help="auto, published, lm_eval or table.")]
FilterOption = Annotated[
    str | None, typer.Option("--filter", help="Which filter of an lm-evaluation-harness log.")
]
MetricOption = Annotated[
    str | None, typer.Option(help="Which metric of an lm-evaluation-harness log says what is right.")
]


@curves_app.command("build")
def curves_build(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATHS...", help="Files of raw evaluations, or folders of them.")
    ],
    benchmark: Annotated[str, typer.Option(help="What the questions are from.")],
    method: Annotated[
        list[str] | None,
        typer.Option(help="How compute is spent; give it again for another. Left out: majority_voting."),
    ] = None,
    levels: Annotated[str, typer.Option(help="Numbers of samples.")] = "1,4,8,16,32,64",
    bins: Annotated[int, typer.Option(help="Bins of reasoning effort.")] = 5,
    draws: Annotated[int, typer.Option(help="Resamplings of the questions.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of the resamplings.")] = 1,
    format_: FormatOption = "auto",
    filter_: FilterOption = None,
    metric: MetricOption = None,
    characters_per_token: Annotated[
        float | None, typer.Option(help="Estimate tokens of an lm-evaluation-harness log without them.")
    ] = None,
    max_tokens: Annotated[
        float | None, typer.Option(help="At which samples were cut off, where file names do not say.")
    ] = None,
    rename: Annotated[
        list[str] | None, typer.Option(help="A=B calls model (or file) A B; give it again for another.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse if anything is wrong in a file.")] = False,
    workers: Annotated[
        int | None, typer.Option(help="Processes that read; left out: one per processor.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The curve file to write.")] = Path("my_curves.csv"),
    json_: JsonOption = False,
) -> None:
    """Turn raw evaluations into a curve file with intervals, draws and provenance."""
    from market_sim.economy.raw_formats import LmEvalChoice
    from market_sim.experiments.built_curves import check_place
    from market_sim.experiments.curves import build_curves
    from market_sim.experiments.surveys import processors

    check_place(out)
    with terminal.reading(quiet=json_) as progress:
        built = build_curves(
            paths,
            benchmark=benchmark,
            methods=method or ["majority_voting"],
            levels=[_whole(part, "--levels", "1,4,8") for part in levels.split(",")],
            bins=bins,
            draws=draws,
            seed=seed,
            format=format_,
            choice=LmEvalChoice(filter=filter_, metric=metric, characters_per_token=characters_per_token),
            token_limit=max_tokens,
            rename=_renames(rename or []),
            strict=strict,
            workers=processors() if workers is None else workers,
            progress=progress,
        )
        files = built.write(out)
    if json_:
        print_json(built.to_dict() | {"files": [str(path) for path in files]})
    else:
        curves.show_built_curves(built)
        terminal.show_files(files)


@curves_app.command("check")
def curves_check(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATHS...", help="Curve files, raw evaluations, folders of them.")
    ],
    format_: FormatOption = "auto",
    filter_: FilterOption = None,
    metric: MetricOption = None,
    json_: JsonOption = False,
) -> None:
    """Say what files are and what is wrong in them; exit 1 if anything is."""
    from market_sim.economy.raw_formats import LmEvalChoice
    from market_sim.experiments.check_curves import check_files

    choice = LmEvalChoice(filter=filter_, metric=metric)
    with terminal.reading(quiet=json_) as progress:
        checked = check_files(paths, format=format_, choice=choice, progress=progress)
    if json_:
        print_json({"files": [each.to_dict() for each in checked]})
    else:
        curves.show_checked_files(checked)
    if any(each.troubles for each in checked):
        raise typer.Exit(1)


@curves_app.command("show")
def curves_show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A curve file.")],
    out: Annotated[Path, typer.Option(help="Where the figure goes.")] = Path("runs/out/curves"),
    json_: JsonOption = False,
) -> None:
    """Print a curve file as a table and draw accuracy against tokens."""
    from market_sim.economy.quality import read_curves
    from market_sim.experiments.curve_figures import curve_table, write_curve_figures

    read = read_curves(file)
    files = write_curve_figures(read, file, out)
    rows = curve_table(read)
    if json_:
        print_json({"curves": rows, "files": [str(path) for path in files]})
    else:
        curves.show_curves(rows)
        terminal.show_files(files)


def _whole(text: str, option: str, example: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(
            f"{option}: {text.strip()!r} is not a whole number; wanted is a list like {example}"
        ) from None


def _renames(texts: list[str]) -> dict[str, str]:
    """New names by old ones, from texts like "A=B"."""
    found: dict[str, str] = {}
    for text in texts:
        old, equals, new = (part.strip() for part in text.partition("="))
        if not (old and equals and new):
            raise InputError(f"--rename: {text!r} is not OLD=NEW")
        if old in found:
            raise InputError(f"--rename names {old!r} twice")
        found[old] = new
    return found
