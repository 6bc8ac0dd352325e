"""How a result came about, as the last part of the report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from html import escape
from typing import Any

from napari_hypseg.model import Model

__all__ = ["record"]


def record(model: Model, run: Mapping[str, Any]) -> str:
    """Everything that is known of a run and of its model, as HTML."""
    sections: dict[str, dict[str, Any]] = {"run": {}}
    for key, value in run.items():
        if isinstance(value, Mapping):
            sections[key] = dict(value)
        elif key != "command":
            sections["run"][key] = value
    sections["network"] = {"preset": model.preset, **model.config.to_dict()}
    sections["training of the network"] = {
        key: value for key, value in model.training.items() if key != "loss"
    }
    blocks = "".join(
        f"<div><h3>{_words(title)}</h3><table>{_lines(values)}</table></div>"
        for title, values in sections.items()
        if values
    )
    command = run.get("command")
    again = ""
    if command:
        text = command if isinstance(command, str) else shlex.join(map(str, command))
        again = f"<h3>The command that made this</h3><pre>{escape(text)}</pre>"
    return f'<h2>How it was made</h2>{again}<div class="how">{blocks}</div>'


def _lines(values: Mapping[str, Any], prefix: str = "") -> str:
    lines = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            lines.append(_lines(value, f"{name}: "))
        elif isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
            lines += [_lines(v, f"{name} {i}: ") for i, v in enumerate(value, 1)]
        else:
            lines.append(f"<tr><td>{_words(name)}</td><td>{escape(_plain(value))}</td></tr>")
    return "".join(lines)


def _words(name: str) -> str:
    return escape(name.replace("_", " "))


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_plain(v) for v in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)
