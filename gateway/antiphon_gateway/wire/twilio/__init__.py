"""Twilio Media Streams: what a call's WebSocket says, and who may open one."""
