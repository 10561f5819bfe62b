"""The operator's command line, `rekindle`."""
