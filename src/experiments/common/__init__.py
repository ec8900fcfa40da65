"""Common ground: errors with their cure, files, records of runs, language, formatting, a number with its interval."""
