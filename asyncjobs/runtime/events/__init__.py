"""Deliver events from the stored log to subscribers, readers, streams and frames."""
