"""How both ends of a channel set HTTP/2: flow control for frames of a few bytes, and how soon they miss each other."""

KEEPALIVE = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # gRPC waits for the answer to its ping as long as the longer of these two says; this one's default is a minute.
    ("grpc.http2.ping_timeout_ms", 10_000),
)

FLOW_CONTROL = (
    # Probing the bandwidth would cost more than the frames do.
    ("grpc.http2.bdp_probe", 0),
    # gRPC adds a WINDOW_UPDATE of 13 bytes for the connection to every write while less than this is announced, and a
    # connection starts with 65,535 bytes announced: with little to hold open, the first 60 kB of frames (3 to 5
    # minutes) go without. Larger messages still get the window that they need.
    ("grpc.http2.lookahead_bytes", 4096),
)
