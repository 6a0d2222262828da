"""The API's reference: its description with examples, the events that programs receive, and a page that shows both."""
