"""Offline: event streams -> the models that the functions serve. `python -m models --help` lists the commands."""
