"""One gRPC call: how it is reached, who calls, and what is believed of the answer."""
