"""Interaction stream: new interactions -> the user's pattern."""
