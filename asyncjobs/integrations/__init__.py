"""Run what other libraries make (crews, flows) as jobs. Each part is imported when it is first used."""
