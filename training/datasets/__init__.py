"""Get the examples' data sets. Commands of their own, neither library nor agent."""
