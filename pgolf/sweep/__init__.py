"""Many runs: what has run, what remains, and the jobs that run it."""
