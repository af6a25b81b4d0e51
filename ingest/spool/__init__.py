"""The spool: webhooks in files on this machine while Kafka does not take them."""
