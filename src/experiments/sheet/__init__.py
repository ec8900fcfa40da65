"""The experiment sheet: offers, rules of contact, the locked plan."""
