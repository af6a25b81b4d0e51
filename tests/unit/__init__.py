"""Pure code: tables and laws, no broker."""
