"""From the locked plan to customers in arms, to a call list, and what came of it."""
