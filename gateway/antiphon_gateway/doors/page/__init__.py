"""The page, which is an edge itself: its files, its codec, and the contract's messages by WebSocket."""
