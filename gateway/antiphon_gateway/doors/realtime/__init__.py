"""`/v1/realtime`, OpenAI's Realtime API: GA events, the beta's names, and what Unmute's page makes of them."""
