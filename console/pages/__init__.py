"""The pages: routes, templates, and the values that templates show."""
