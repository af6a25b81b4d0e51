"""SmsManager, JSON API v2."""
