"""Sentences made of findings, in the language of the page that is rendered."""
