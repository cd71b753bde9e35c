"""Serving of policies over WebSockets: the server, the live episodes and their slots, batches of predictions."""
