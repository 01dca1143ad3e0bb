"""The benchmark of an hour: ten million jobs, ten minutes of retention, daemons that share a file."""
