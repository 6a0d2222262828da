"""What an operator sees and keeps up: status, alarms, timelines, reports, retention."""
