"""What all commands have."""

import json
from typing import Annotated, Any

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def print_json(data: dict[str, Any]) -> None:
    print(json.dumps(data, allow_nan=False))
