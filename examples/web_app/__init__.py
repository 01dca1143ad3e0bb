"""The comic as a web app: press a button, and watch the panels appear as they are drawn."""
