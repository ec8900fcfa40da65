"""Findings in words: a sentence for every key, state and case, in the language of the page."""
