"""How the pictures of the documentation are taken: see ``docs/shots.py``."""
