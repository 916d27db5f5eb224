"""How things are shown: tables, pages and figures."""
