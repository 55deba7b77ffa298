"""Sources of rows: in memory (`array`). A source answers a query for its row blocks and adds the answers."""
