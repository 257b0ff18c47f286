"""How to ask: one adapter a provider, which translates, and the transport, which sends."""
