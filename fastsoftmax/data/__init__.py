"""Input from callers: files read as tables, arrays validated once."""
