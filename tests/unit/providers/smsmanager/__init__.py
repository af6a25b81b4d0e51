"""Tests of providers/smsmanager/."""
