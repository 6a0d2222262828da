"""Operator functions: status, alarms, search, timelines, reports, API keys, retention."""
