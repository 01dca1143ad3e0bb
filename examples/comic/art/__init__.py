"""Procedural drawing: everything that turns a panel of the script into pixels."""
