"""Who is lost, since when, why, what it costs, whom first."""
