"""Celery integration: the app, the tasks in the order in which they run, and the retry rules."""
