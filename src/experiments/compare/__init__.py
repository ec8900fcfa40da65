"""Several tests together, and one test under many settings."""
