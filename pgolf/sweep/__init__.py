"""Many runs: their states, the plan of a sweep, and the jobs that a launcher starts."""
