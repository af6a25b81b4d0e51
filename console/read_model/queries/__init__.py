"""The queries of the pages and of the JSON API: functions of a connection and of values."""
