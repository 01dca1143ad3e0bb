"""A short film as a graph of durable jobs: drawn, filmed, given sound and cut on this machine."""
