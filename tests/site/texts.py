"""Every Chinese text that the site shows, from templates and code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment
from jinja2.ext import extract_from_ast

import gateway.site

FOLDER = Path(gateway.site.__file__).parent
CHINESE = re.compile(r"[\u3400-\u9fff]")
PLACEHOLDER = re.compile(r"%\((\w+)\)s")


def shown() -> dict[str, str]:
    """Where each text stands."""
    return {text: where for where, text in (*_in_templates(), *_in_code()) if CHINESE.search(text)}


def _in_templates() -> Iterator[tuple[str, str]]:
    environment = Environment(autoescape=True)
    for path in sorted((FOLDER / "templates").rglob("*.*")):
        for line, _, message in extract_from_ast(environment.parse(path.read_text(encoding="utf-8"))):
            parts = message if isinstance(message, tuple) else (message,)
            yield from ((f"{path.name}:{line}", part) for part in parts if part is not None)


def untranslatable() -> list[str]:
    """Chinese that stands in a template outside ``_(…)``."""
    environment = Environment(autoescape=True)
    found = []
    for path in sorted((FOLDER / "templates").rglob("*.*")):
        text = path.read_text(encoding="utf-8")
        for line, kind, value in environment.lex(text):
            if kind == "data" and CHINESE.search(value):
                found.append(f"{path.name}:{line}: {value.strip()[:40]}")
    return found


def _in_code() -> Iterator[tuple[str, str]]:
    for path in sorted(FOLDER.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        skipped |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.Call) for part in _beside(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
                yield f"{path.name}:{node.lineno}", node.value


def _beside(call: ast.Call) -> list[ast.expr]:
    """``visit.pick(chinese, english)`` keeps both side by side."""
    return list(call.args) if isinstance(call.func, ast.Attribute) and call.func.attr == "pick" else []
