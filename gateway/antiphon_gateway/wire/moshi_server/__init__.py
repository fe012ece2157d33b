"""What moshi-server and its clients say to each other, in msgpack."""
