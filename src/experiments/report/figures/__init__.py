"""Pictures of each notebook, for a page and, narrow, for a phone. Words for those who cannot see them come along."""
