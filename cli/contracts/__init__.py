"""The published contract, generated: schemas, examples, AsyncAPI, data dictionary, types."""
