"""The monitoring report as one HTML page that opens offline."""

from roadworthy.monitor.page.html import render_overview

__all__ = ["render_overview"]
