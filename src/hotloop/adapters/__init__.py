"""adapters: the ports of hotloop, elsewhere: over HTTP and on existing engines."""
