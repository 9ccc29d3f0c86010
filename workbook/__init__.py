"""What makes the report of tadlib's networks: the studies, their tables and figures, the pages. See book.py."""
