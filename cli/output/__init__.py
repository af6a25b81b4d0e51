"""The output of commands: tables, records, JSON lines; texts and phone numbers are masked."""
