"""Scores of labels against a truth."""
