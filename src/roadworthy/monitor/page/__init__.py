"""The monitoring report as one HTML page that opens offline."""

from roadworthy.monitor.page.html import render_inspection

__all__ = ["render_inspection"]
