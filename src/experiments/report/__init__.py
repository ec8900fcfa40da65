"""What each notebook shows: results in, parts of a page out. One module a notebook, one function a section."""
