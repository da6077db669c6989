"""From the spec repository to the one revision that is desired."""
