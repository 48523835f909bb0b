"""A session as NWB, CSV or Parquet."""
