"""The security headers of every response. Pure."""

from collections.abc import Mapping

_CONTENT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


def security_headers(*, secure: bool, kept: bool) -> Mapping[str, str]:
    """Return the headers; `kept` is whether a browser may keep the response (our own files)."""
    return {
        "content-security-policy": _CONTENT,
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        # Addresses of pages hold message keys and searches.
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
        "cache-control": "public, max-age=3600" if kept else "no-store",
        **({"strict-transport-security": "max-age=31536000"} if secure else {}),
    }
