"""The openpi protocol, which policy servers speak: its messages, and a client as a policy."""
