"""Celery's side: the app, the tasks in the order of the story, and when a task is tried again."""
