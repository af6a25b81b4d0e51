"""Simulated webhooks: message lives, payloads, requests, and a client that posts them."""
