"""Reading files: contracts, checks, where each row went; spreadsheets; who gets which offer by chance."""
