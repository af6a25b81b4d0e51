"""Archives of raw topics: Parquet files and manifests on any file system that fsspec knows."""
