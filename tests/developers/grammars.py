"""Reads code that nothing here runs as its own language reads it, by a grammar that others wrote.

C# is read, not compiled: the compiler that Debian has, mono's, knows neither
``using var`` nor ``!`` nor System.Text.Json, and code that it takes would be
worse for everybody who has a .NET of this decade. PowerShell is run where there
is one (tests/developers/test_snippets.py).
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import tree_sitter_c_sharp
import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

from tests.clients.npm_client import FOLDER, require_npm_clients
from tests.server import PATIENCE

_LANGUAGES = {
    "powershell": Language(tree_sitter_powershell.language()),
    "csharp": Language(tree_sitter_c_sharp.language()),
}


def mistakes(language: str, text: str) -> list[str]:
    """Where ``text`` is not what ``language`` ("csharp", "powershell" or "powerquery") allows; the test is skipped
    without what reads it."""
    if language == "powerquery":
        return _power_query(text)
    tree = Parser(_LANGUAGES[language]).parse(text.encode())
    return [f"line {node.start_point.row + 1}: {_said(node)}" for node in _walk(tree.root_node) if _is_wrong(node)]


def _power_query(text: str) -> list[str]:
    require_npm_clients()
    done = subprocess.run(
        ["node", "power_query.mjs"],
        cwd=FOLDER,
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return [] if done.returncode == 0 else [done.stderr.strip()]


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _is_wrong(node: Node) -> bool:
    return node.is_error or node.is_missing


def _said(node: Node) -> str:
    return f"{node.type} is missing" if node.is_missing else (node.text or b"").decode()
