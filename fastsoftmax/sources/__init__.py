"""Where rows live: in memory (`array`). A source runs a task over its blocks and adds the sums in order."""
