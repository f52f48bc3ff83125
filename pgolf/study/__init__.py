"""What a study asks, and what its numbers answer. No torch."""
