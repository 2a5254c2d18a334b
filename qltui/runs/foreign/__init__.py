"""Runs that other programs started, followed by the files those write."""
