"""Telephones: calls that Twilio or Asterisk bring, whose frames are the clock."""
