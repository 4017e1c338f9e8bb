"""The Grafana dashboard: what a service does, and how its rows differ from training's.

Grafana's own JSON model (https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/
view-dashboard-json-model/), as plain data: one row a panel here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

_SOURCE = {"type": "prometheus", "uid": "prometheus"}
_WINDOW = "$__rate_interval"


class Panel(NamedTuple):
    """One panel.

    Attributes:
        title: What it shows.
        queries: Legend -> PromQL.
        unit: Grafana's name of the unit.
    """

    title: str
    queries: dict[str, str]
    unit: str = "short"


def _rate(metric: str, by: str, where: str = "") -> str:
    wanted = f'model=~"$model"{where}'
    return f"sum by ({by}) (rate({metric}{{{wanted}}}[{_WINDOW}]))"


def _quantile(share: float) -> str:
    return (
        f"histogram_quantile({share}, "
        f"{_rate('roadworthy_request_duration_seconds_bucket', 'le, model')})"
    )


PANELS = (
    Panel("Requests", {"{{code}}": _rate("roadworthy_requests_total", "code")}, "reqps"),
    Panel(
        "Share of errors (5xx)",
        {
            "{{model}}": _rate("roadworthy_requests_total", "model", ', code=~"5.."')
            + " / "
            + _rate("roadworthy_requests_total", "model")
        },
        "percentunit",
    ),
    Panel(
        "Time to answer",
        {"50 %, {{model}}": _quantile(0.5), "99 %, {{model}}": _quantile(0.99)},
        "s",
    ),
    Panel("Rows predicted", {"{{model}}": _rate("roadworthy_rows_total", "model")}, "rps"),
    Panel(
        "Predictions by class",
        {"{{class}}": _rate("roadworthy_predictions_total", "class")},
        "rps",
    ),
    Panel(
        "Blank cells by column", {"{{column}}": _rate("roadworthy_blank_total", "column")}, "cps"
    ),
    Panel(
        "Levels that training never saw",
        {"{{column}}": _rate("roadworthy_unseen_total", "column")},
        "cps",
    ),
    Panel(
        "Outside the range of training",
        {"{{column}}": _rate("roadworthy_out_of_range_total", "column")},
        "cps",
    ),
    Panel("Versions that are served", {"{{model}} {{version}}": "roadworthy_model_info"}),
)


def dashboard() -> dict[str, Any]:
    """The dashboard's JSON model."""
    return {
        "uid": "roadworthy",
        "title": "Roadworthy",
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_choice()]},
        "panels": [_panel(place, panel) for place, panel in enumerate(PANELS)],
    }


def _choice() -> dict[str, Any]:
    """The list of models to choose from."""
    query = "label_values(roadworthy_model_info, model)"
    return {
        "name": "model",
        "label": "Model",
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": "model"},
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


def _panel(place: int, panel: Panel) -> dict[str, Any]:
    return {
        "id": place + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"x": 8 * (place % 3), "y": 8 * (place // 3), "w": 8, "h": 8},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(65 + number),
                "datasource": _SOURCE,
                "expr": query,
                "legendFormat": legend,
            }
            for number, (legend, query) in enumerate(panel.queries.items())
        ],
    }
