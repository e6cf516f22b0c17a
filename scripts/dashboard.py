"""Writes the Grafana dashboard of a service: `python -m scripts.dashboard`.

In a service the JSON belongs to the team, which changes it in Grafana and exports it. Here it is
generated, so that a person only has to read the queries, which are a small part of it.
"""

import json
from itertools import count
from typing import Any, NamedTuple

from .baking import ROOT

FILE = ROOT / "{{cookiecutter.project_slug}}/deploy/observability/grafana/dashboard.json"

# The answer, as in the rest of the template; the text around it has Grafana's own `{{label}}`.
SLUG = "{% endraw %}{{ cookiecutter.project_slug }}{% raw %}"
UID = "{% endraw %}{{ cookiecutter.project_slug[:40] }}{% raw %}"  # Grafana's limit

# Prometheus, as the variable `datasource` of the dashboard names it.
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT, COLUMNS = 8, 7, 3  # Grafana's grid has 24 columns

# The filter for a panel's series; a query says `$of`. Grafana replaces the variables.
OF = 'namespace=~"$namespace", job="$job", instance=~"$instance"'


class Panel(NamedTuple):
    """A graph: its title, its unit in Grafana's terms, and each query with its legend."""

    title: str
    unit: str
    queries: dict[str, str]
    help: str = ""


def quantiles(metric: str, by: str = "", *which: float) -> dict[str, str]:
    """The quantiles of a histogram, for each value of a label or for all together."""
    labels = f"{by}, le" if by else "le"
    rates = f"sum by ({labels}) (rate({metric}_bucket{{$of}}[$__rate_interval]))"
    legend = f"{{{{{by}}}}} " if by else ""
    return {
        f"{legend}p{quantile * 100:g}": f"histogram_quantile({quantile}, {rates})"
        for quantile in which or (0.5, 0.95, 0.99)
    }


def rate(metric: str, by: str = "instance", labels: str = "") -> str:
    """The growth of a counter per second, for each value of a label."""
    of = f"$of, {labels}" if labels else "$of"
    return f"sum by ({by}) (rate({metric}{{{of}}}[$__rate_interval]))"


REQUESTS = "http_server_request_duration_seconds"
CALLS = "upstream_call_duration_seconds"
ATTEMPTS = "http_client_request_duration_seconds"
FAILED = 'http_response_status_code=~"5.."'
BURN = {
    window: f'job:http_server_requests_failed:increase{window}{{job="$job"}} / '
    f'(0.001 * job:http_server_requests:increase{window}{{job="$job"}})'
    for window in ("1h", "6h", "3d")
}

ROWS = {
    "Requests": [
        Panel(
            "Requests by route",
            "reqps",
            {"{{http_route}}": rate(f"{REQUESTS}_count", "http_route")},
        ),
        Panel(
            "Share of 5xx by route",
            "percentunit",
            {
                "{{http_route}}": f"{rate(f'{REQUESTS}_count', 'http_route', FAILED)}"
                f" / {rate(f'{REQUESTS}_count', 'http_route')}"
            },
        ),
        Panel(
            "Requests by status",
            "reqps",
            {
                "{{http_response_status_code}}": rate(
                    f"{REQUESTS}_count", "http_response_status_code"
                )
            },
            "499: the client left before the answer.",
        ),
        Panel("Time to answer", "s", quantiles(REQUESTS)),
        Panel("Time to answer by route", "s", quantiles(REQUESTS, "http_route", 0.95)),
        Panel(
            "Error budget burnt",
            "short",
            BURN,
            "1: the budget of 30 days lasts 30 days. 14.4 in one hour pages, and 6 in six hours.",
        ),
    ],
    "Load": [
        Panel(
            "Requests in flight",
            "short",
            {
                "{{instance}}": "http_server_active_requests{$of}",
                "limit": "min(http_server_active_requests_limit{$of})",
                "in line": "sum(http_server_queued_requests{$of})",
            },
        ),
        Panel(
            "Requests shed and cancelled",
            "reqps",
            {
                "shed: {{reason}}": rate("http_server_requests_shed_total", "reason"),
                "cancelled: {{reason}}": rate("http_server_requests_cancelled_total", "reason"),
            },
        ),
        Panel("Time in line", "s", quantiles("http_server_queue_duration_seconds")),
        Panel(
            "Event loop lag",
            "s",
            quantiles("event_loop_lag_seconds", "instance", 0.5, 0.99),
            "How late a timer runs: something blocks the loop, or the processor is short.",
        ),
        Panel(
            "Event loop stands still since",
            "s",
            {
                "{{instance}}": "timestamp(event_loop_last_tick_timestamp_seconds{$of})"
                " - event_loop_last_tick_timestamp_seconds{$of}"
            },
        ),
        Panel(
            "Worker threads",
            "short",
            {
                "{{state}}": "sum by (state) (worker_threads{$of})",
                "limit": "sum(worker_threads_limit{$of})",
                "calls in line": "sum(worker_threads_queued_calls{$of})",
            },
            "Away: the thread's request waits for the loop, its client or its next call.",
        ),
        Panel(
            "Background tasks",
            "short",
            {
                "under way": "sum(background_tasks_active{$of})",
                "{{outcome}} per second": rate("background_tasks_total", "outcome"),
            },
        ),
    ],
    "Upstreams": [
        Panel("Calls", "reqps", {"{{upstream}}": rate(f"{CALLS}_count", "upstream")}),
        Panel(
            "Failed calls by kind",
            "reqps",
            {
                "{{upstream}} {{error_type}}": rate(
                    f"{CALLS}_count", "upstream, error_type", 'error_type!=""'
                ),
                "{{upstream}} stream {{error_type}}": rate(
                    "upstream_stream_failures_total", "upstream, error_type"
                ),
            },
        ),
        Panel("Time of a call", "s", quantiles(CALLS, "upstream", 0.5, 0.95, 0.99)),
        Panel(
            "Time of an attempt",
            "s",
            quantiles(ATTEMPTS, "upstream", 0.5, 0.95, 0.99),
            "Without waits, retries and the cache: what the upstream itself takes.",
        ),
        Panel(
            "Attempts per call",
            "short",
            {
                "{{upstream}}": f"{rate(f'{ATTEMPTS}_count', 'upstream')}"
                f" / {rate(f'{CALLS}_count', 'upstream')}"
            },
            "Above 1: retries and hedges. Below 1: coalesced, cached and refused calls.",
        ),
        Panel(
            "Retries",
            "reqps",
            {
                "{{upstream}} made": rate("upstream_retries_total", "upstream"),
                "{{upstream}} refused: {{reason}}": rate(
                    "upstream_retries_refused_total", "upstream, reason"
                ),
            },
        ),
        Panel(
            "Hedges and coalesced calls",
            "reqps",
            {
                "{{upstream}} hedges": rate("upstream_hedges_total", "upstream"),
                "{{upstream}} hedges won": rate("upstream_hedges_won_total", "upstream"),
                "{{upstream}} hedges refused": rate("upstream_hedges_refused_total", "upstream"),
                "{{upstream}} coalesced": rate("upstream_coalesced_calls_total", "upstream"),
            },
        ),
        Panel(
            "Circuit breakers that are not closed",
            "short",
            {
                "{{upstream}} {{state}}": "sum by (upstream, state)"
                ' (upstream_breaker_state{$of, state!="closed"})',
                "{{upstream}} refused per second": rate(
                    "upstream_breaker_refusals_total", "upstream"
                ),
            },
        ),
        Panel(
            "Connections",
            "short",
            {
                "{{upstream}} in use": "sum by (upstream) (upstream_connections_active{$of})",
                "{{upstream}} limit": "sum by (upstream) (upstream_connections_limit{$of})",
                "{{upstream}} calls in line": "sum by (upstream)"
                " (upstream_connections_queued_calls{$of})",
            },
        ),
        Panel(
            "Wait for a connection",
            "s",
            quantiles("upstream_connection_wait_duration_seconds", "upstream", 0.5, 0.95),
        ),
    ],
    "Processes": [
        Panel("Processor", "percentunit", {"{{instance}}": rate("process_cpu_seconds_total")}),
        Panel("Memory", "bytes", {"{{instance}}": "process_resident_memory_bytes{$of}"}),
        Panel(
            "Open files",
            "short",
            {
                "{{instance}}": "process_open_fds{$of}",
                "limit": "min(process_max_fds{$of})",
            },
        ),
        Panel(
            "Garbage collections per second",
            "short",
            {
                "{{instance}} generation {{generation}}": rate(
                    "python_gc_collections_total", "instance, generation"
                )
            },
        ),
        Panel("Log lines dropped", "short", {"{{instance}}": rate("log_lines_dropped_total")}),
        Panel("Running since", "s", {"{{instance}}": "time() - process_start_time_seconds{$of}"}),
        Panel(
            "Processes by version",
            "short",
            {
                "{{version}} on {{python_version}}": "count by (version, python_version)"
                " (service_build_info{$of})"
            },
        ),
    ],
}


def dashboard() -> dict[str, Any]:
    """The dashboard in Grafana's schema."""
    return {
        "uid": UID,
        "title": SLUG,
        "description": "Written for docs/observing.md, which says how to read it.",
        "tags": ["flask", "prometheus"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,  # all graphs share the crosshair
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "annotations": {"list": [_alerts()]},
        "links": [],
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Prometheus",
                    "type": "datasource",
                    "query": "prometheus",
                },
                _variable("job", "label_values(http_server_active_requests_limit, job)")
                | {"current": {"text": SLUG, "value": SLUG}},
                _variable(
                    "namespace",
                    'label_values(http_server_active_requests_limit{job="$job"}, namespace)',
                    several=True,
                ),
                _variable(
                    "instance",
                    "label_values(http_server_active_requests_limit"
                    '{job="$job", namespace=~"$namespace"}, instance)',
                    several=True,
                ),
            ]
        },
        "panels": _panels(),
    }


def _alerts() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertstate="firing", job="$job"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{instance}} {{upstream}}",
    }


def _variable(name: str, query: str, *, several: bool = False) -> dict[str, Any]:
    variable = {
        "name": name,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,  # when the time range changes
        "sort": 1,
    }
    if not several:
        return variable
    return variable | {
        "multi": True,
        "includeAll": True,
        # Also matches a missing label, such as the namespace outside of Kubernetes.
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panels() -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = []
    numbers, top = count(1), 0
    for title, row in ROWS.items():
        place = {"h": 1, "w": WIDTH * COLUMNS, "x": 0, "y": top}
        panels.append(
            {
                "id": next(numbers),
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": place,
                "panels": [],
            }
        )
        top += 1
        for number, panel in enumerate(row):
            down, across = divmod(number, COLUMNS)
            place = {"h": HEIGHT, "w": WIDTH, "x": across * WIDTH, "y": top + down * HEIGHT}
            panels.append(_graph(panel, next(numbers), place))
        top += -(-len(row) // COLUMNS) * HEIGHT
    return panels


def _graph(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.help,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "custom": {"fillOpacity": 10}},
            "overrides": [],
        },
        "options": {
            "legend": {
                "displayMode": "list",
                "placement": "bottom",
                "showLegend": True,
                "calcs": [],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {
                "refId": chr(ord("A") + place_in_panel),
                "datasource": SOURCE,
                "expr": query.replace("$of", OF),
                "legendFormat": legend,
            }
            for place_in_panel, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def text() -> str:
    """The file, which is itself a template."""
    return "{% raw %}" + json.dumps(dashboard(), indent=1) + "\n{% endraw %}"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
