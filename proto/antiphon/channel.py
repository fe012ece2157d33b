"""How both ends of a channel set HTTP/2's flow control, for frames of a few bytes."""

FLOW_CONTROL = (
    # Probing the bandwidth would cost more than the frames do.
    ("grpc.http2.bdp_probe", 0),
    # gRPC adds a WINDOW_UPDATE of 13 bytes for the connection to every write while less than this is announced, and a
    # connection starts with 65,535 bytes announced: with little to hold open, the first 60 kB of frames (3 to 5
    # minutes) go without. Larger messages still get the window that they need.
    ("grpc.http2.lookahead_bytes", 4096),
)
