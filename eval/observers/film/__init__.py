"""Films of episodes: files, captions, one episode per file, many episodes on one wall."""
