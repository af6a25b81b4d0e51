"""The JSON API under /api/v1: the queries of the read model, described by an OpenAPI document."""
