"""What a test said: checks, verdict, segments, targeting, drivers, all of it as one value."""
