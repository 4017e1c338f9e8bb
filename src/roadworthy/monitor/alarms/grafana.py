"""A Grafana dashboard over what `/metrics` and `monitor export` tell."""

from __future__ import annotations

from typing import Any

from roadworthy.monitor.alarms._base import Place

_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_MODEL = 'model="$model"'
_PANELS: tuple[tuple[str, str, str, tuple[tuple[str, str], ...]], ...] = (
    ("Requests a second", "timeseries", "reqps", (
        (f"sum(rate(roadworthy_requests_total{{{_MODEL}}}[5m])) by (code)", "{{code}}"),
    )),
    ("Duration", "timeseries", "s", (
        (f"histogram_quantile(0.5, sum(rate(roadworthy_request_duration_seconds_bucket{{{_MODEL}}}"
         "[5m])) by (le))", "p50"),
        (f"histogram_quantile(0.99, sum(rate(roadworthy_request_duration_seconds_bucket{{{_MODEL}}}"
         "[5m])) by (le))", "p99"),
    )),
    ("Share of errors", "timeseries", "percentunit", (
        (f"sum(rate(roadworthy_errors_total{{{_MODEL}}}[5m])) / "
         f"sum(rate(roadworthy_requests_total{{{_MODEL}}}[5m]))", "5xx"),
    )),
    ("Predictions by class", "timeseries", "short", (
        (f"sum(rate(roadworthy_predictions_total{{{_MODEL}}}[15m])) by (class)", "{{class}}"),
    )),
    ("Realised quality", "timeseries", "none", (
        (f'roadworthy_quality{{{_MODEL},part="value"}}', "{{metric}}"),
    )),
    ("Estimated quality (blind to concept drift)", "timeseries", "none", (
        (f'roadworthy_quality_estimated{{{_MODEL},metric=~"accuracy|mae"}}', "{{metric}} {{part}}"),
    )),
    ("Blank and unseen cells", "timeseries", "short", (
        (f"sum(rate(roadworthy_blank_total{{{_MODEL}}}[15m])) by (column)", "blank {{column}}"),
        (f"sum(rate(roadworthy_unseen_total{{{_MODEL}}}[15m])) by (column)", "unseen {{column}}"),
    )),
    ("Findings", "table", "none", (
        (f"roadworthy_findings{{{_MODEL}}}", ""),
    )),
    ("Open alarms", "table", "none", (
        ('ALERTS{alertname=~"Roadworthy.*",alertstate="firing"}', ""),
    )),
    ("Versions", "table", "none", (
        (f"roadworthy_model_info{{{_MODEL}}}", ""),
    )),
)  # fmt: skip


def dashboard(place: Place) -> dict[str, Any]:
    """The dashboard, to be imported in Grafana or put into its provisioning folder."""
    return {
        "title": f"Roadworthy: {place.model}",
        "uid": f"roadworthy-{place.model}"[:40],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "tags": ["roadworthy"],
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                {
                    "name": "model",
                    "type": "query",
                    "datasource": _DATASOURCE,
                    "query": "label_values(roadworthy_model_info, model)",
                    "refresh": 1,
                    "current": {"text": place.model, "value": place.model},
                },
            ]
        },
        "annotations": {
            "list": [
                {
                    "name": "versions",
                    "enable": True,
                    "iconColor": "blue",
                    "datasource": _DATASOURCE,
                    "expr": f"roadworthy_model_info{{{_MODEL}}} unless "
                    f"roadworthy_model_info{{{_MODEL}}} offset 5m",
                    "titleFormat": "version {{version}}",
                }
            ]
        },
        "panels": [_panel(number, *panel) for number, panel in enumerate(_PANELS)],
    }


def _panel(
    number: int, title: str, kind: str, unit: str, queries: tuple[tuple[str, str], ...]
) -> dict[str, Any]:
    return {
        "id": number + 1,
        "title": title,
        "type": kind,
        "datasource": _DATASOURCE,
        "gridPos": {"x": 12 * (number % 2), "y": 8 * (number // 2), "w": 12, "h": 8},
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "targets": [
            {
                "refId": "ABCDEFGH"[place],
                "datasource": _DATASOURCE,
                "expr": expression,
                "legendFormat": legend,
                "instant": kind == "table",
                "range": kind != "table",
                **({"format": "table"} if kind == "table" else {}),
            }
            for place, (expression, legend) in enumerate(queries)
        ],
    }
