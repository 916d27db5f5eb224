"""What people read: tables, figures, the page, and the summary in the terminal."""
