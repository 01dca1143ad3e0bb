"""Scenarios: each provokes messages of the package for real, and does what they say as it is printed."""
