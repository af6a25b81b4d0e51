"""What commands print: tables, records, JSON lines, without texts and whole phone numbers."""
