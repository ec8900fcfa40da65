"""Sentences, made of the facts of a result when a page is rendered."""
