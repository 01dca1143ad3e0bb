"""What writes pages of the reference from the code. ``docs/generate.py`` calls it."""
