"""A crew writes the mystery that the comic draws; a flow has it revised, and asks before it names the murderer."""
