"""A verdict for people and for CI: HTML, Markdown, JUnit XML.

Names are loaded when they are first used: the monitor's pages take words from here and nothing of
training.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roadworthy.evaluate.page.html import render_page
    from roadworthy.evaluate.page.junit import render_junit
    from roadworthy.evaluate.page.markdown import render_markdown

_FILES = {"render_junit": "junit", "render_markdown": "markdown", "render_page": "html"}
__all__ = ["render_junit", "render_markdown", "render_page"]


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module 'roadworthy.evaluate.page' has no attribute {name!r}")
    return getattr(importlib.import_module(f"roadworthy.evaluate.page.{_FILES[name]}"), name)
