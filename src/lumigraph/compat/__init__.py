"""Compatibility with other toolkits."""
