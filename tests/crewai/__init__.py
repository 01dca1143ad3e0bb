"""CrewAI, for real, with a scripted model. Needs the extra, in an environment of its own: `make test-crewai`."""
