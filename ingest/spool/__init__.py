"""The spool: files on ingest's disk that hold webhooks while Kafka does not accept them."""
