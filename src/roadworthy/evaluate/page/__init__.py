"""A verdict for people and for CI: HTML, Markdown, JUnit XML."""

from roadworthy.evaluate.page.html import render_page
from roadworthy.evaluate.page.junit import render_junit
from roadworthy.evaluate.page.markdown import render_markdown

__all__ = ["render_junit", "render_markdown", "render_page"]
