"""HTTP/2 settings of both ends of a channel: flow control for frames of a few bytes, and keepalive."""

KEEPALIVE = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # gRPC waits for a ping's answer for the longer of these two; this one's default is a minute.
    ("grpc.http2.ping_timeout_ms", 10_000),
)

FLOW_CONTROL = (
    # Bandwidth probes would cost more bytes than the frames.
    ("grpc.http2.bdp_probe", 0),
    # While a connection's window is below this, gRPC adds a WINDOW_UPDATE of 13 bytes to every write. The window
    # starts at 65,535 bytes: with a low target, the first 60 kB of frames (3 to 5 minutes) cause none. Larger
    # messages still get the window that they need.
    ("grpc.http2.lookahead_bytes", 4096),
)
