"""`python -m benchmarks [mapping|clustering|training|growth]`: all of them by default."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks import clustering, growth, mapping, training
from benchmarks.measure import machine, show

PARTS = {
    "mapping": mapping.run,
    "clustering": clustering.run,
    "training": training.run,
    "growth": growth.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all without")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller sizes")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    described = machine()
    print(", ".join(f"{k} {v}" for k, v in described.items()), flush=True)
    rows = []
    for part in arguments.parts or PARTS:
        found = PARTS[part](arguments.quick)
        print("", show(found), sep="\n", flush=True)
        rows += found
    if arguments.out:
        result = {"machine": described, "rows": [row.to_dict() for row in rows]}
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
