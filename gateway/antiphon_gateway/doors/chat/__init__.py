"""`/api/chat`, the protocol of Moshi's and PersonaPlex's pages and command lines."""
