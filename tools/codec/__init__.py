"""The codec beside other codecs: compared, counted, estimated and run for an hour."""
