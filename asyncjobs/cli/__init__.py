"""Define the command line, ``asyncjobs``. Data goes to standard output, everything else to standard error."""
