"""Client of one Stacks API server: typed calls, bounded requests, rate limits, the WebSocket."""
