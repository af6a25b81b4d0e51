"""Who may see and do what: login, roles, CSRF, security headers, masking, the audit log."""
