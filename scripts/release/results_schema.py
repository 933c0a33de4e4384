"""Writes the JSON Schema of `results.json` from its dataclasses; with --check, compares the shipped one with them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from semconv.results.schema import Results
from semconv.system.shape import json_schema

TARGET = Path(__file__).parents[2] / "semconv" / "results" / "results.schema.json"


def schema_text() -> str:
    """Returns the schema as it is written: indented, a line at the end."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **json_schema(Results)}
    return json.dumps(schema, indent=1) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the file is another")
    text = schema_text()
    if parser.parse_args().check:
        if TARGET.read_text() == text:
            return 0
        print(f"{TARGET.name} is not what the dataclasses give; python scripts/release/results_schema.py writes it")
        return 1
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
