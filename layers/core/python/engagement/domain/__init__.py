"""Pure rules: no I/O, and the current time is always an argument."""
