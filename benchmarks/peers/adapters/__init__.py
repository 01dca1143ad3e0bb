"""One module for each job library, as its own documentation recommends; each runs in an environment that has it."""
